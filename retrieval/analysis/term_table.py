"""The term table: numbers the terms of a growing collection of texts, fast."""

from __future__ import annotations

from retrieval.analysis.analyser import LONGEST_TERM, Analyser

_MOST_TOKENS = 1 << 19
_STOPPED = -1


class TermTable(dict[str, int]):
    """token -> term id, or -1 for a stop word; filled as texts come. Not for several threads.

    Use it for indexing: one look-up for each word of a text, and a word is stemmed when it is first seen. Words
    are forgotten when there are too many of them, terms never.

    Args:
        analyser: what makes terms of tokens.

    Attributes:
        vocabulary: the terms in the order of their ids, which is the order of their first occurrence.
    """

    def __init__(self, analyser: Analyser) -> None:
        super().__init__()
        self.vocabulary: list[str] = []
        self._tokens = analyser.tokens
        self._term = analyser.term
        self._ids: dict[str, int] = {}

    def ids(self, text: str) -> list[int]:
        """Return the term ids of a text in order, one for each term of `Analyser.terms`."""
        return [term_id for token in self._tokens(text) if (term_id := self[token]) >= 0]

    def __missing__(self, token: str) -> int:
        if len(token) > LONGEST_TERM:
            return self._id_of(token)
        if len(self) >= _MOST_TOKENS:
            self.clear()
        term_id = self[token] = self._id_of(token)
        return term_id

    def _id_of(self, token: str) -> int:
        term = self._term(token)
        if term is None:
            return _STOPPED
        term_id = self._ids.setdefault(term, len(self.vocabulary))
        if term_id == len(self.vocabulary):
            self.vocabulary.append(term)
        return term_id
