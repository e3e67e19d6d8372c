"""The analyser: text becomes terms, the same way for documents and queries."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from retrieval.analysis.alignment import token_spans
from retrieval.analysis.normalisation import Normalisation, fold_diacritics
from retrieval.analysis.scripts import ZERO_WIDTH_NON_JOINER
from retrieval.analysis.settings import AnalyserSettings
from retrieval.analysis.stop_words import stop_list
from retrieval.analysis.words import WordTokenizer

RULES_VERSION = 1
"""Raised with every change that gives some text other terms; part of the fingerprint."""

LONGEST_TERM = 64
"""Characters of a token that count. What is longer is encoded data or a slip; its beginning identifies it."""

_MEMO_SIZE = 1 << 18
_UNACCENTED_STEMMERS = (None, "english", "porter")
"""Stemmers whose language writes without diacritics fold them first (résumés = resumes); others need them to stem."""


class Analyser:
    """Maps text to terms: normalisation, words, stop words, stems. Safe to use from several threads at once.

    Args:
        settings: what to do; the default is English.
    """

    def __init__(self, settings: AnalyserSettings | None = None) -> None:
        self.settings = settings or AnalyserSettings()
        self._normalise = Normalisation(self.settings.language)
        self._words = WordTokenizer(self.settings.language, self.settings.character_bigrams)
        self._stemmers = _Stemmers(self.settings.stemmer_name)
        self._folds_first = self.settings.fold_diacritics and self.settings.stemmer_name in _UNACCENTED_STEMMERS
        self.stop_words = self._read_stop_words()
        self._memo = _Memo(self._make_term)

    def tokens(self, text: str) -> list[str]:
        """Return the words of a text in normal form, in order, stop words included."""
        return self._words.tokens(self._normalise(text))

    def term(self, token: str) -> str | None:
        """Return what is indexed for one of `tokens`: its stem, or None for a stop word."""
        return self._memo[token] or None

    def terms(self, text: str) -> list[str]:
        """Return the terms of a text in order: what is indexed, and what a query becomes.

        Plain text is never parsed: quotation marks, + and - are punctuation here.
        """
        return list(filter(None, map(self._memo.__getitem__, self.tokens(text))))

    def spans(self, text: str) -> list[tuple[str, int, int]]:
        """Return the terms of a text with their places, for highlighting.

        Returns:
            (term, start, end) in order; the terms are those of `terms`, start and end count characters of `text`,
            and analysing `text[start:end]` yields the term again (besides others, where one character such as ½
            stands for several).
        """
        found = ((self._memo[token], start, end) for token, start, end in self._spans_of_tokens(text))
        return [(term, start, end) for term, start, end in found if term]

    def fingerprint(self) -> dict[str, Any]:
        """Return what determines the terms of a text; a collection stores it and refuses to open with another.

        A flat mapping of JSON values: the settings, the version of the rules here, the version of Snowball where it
        stems, and a hash of the stop words in use.
        """
        words = "\n".join(sorted(self.stop_words))
        settings = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self.settings).items()
        }
        return {
            **settings,
            "rules": RULES_VERSION,
            "snowball": self._stemmers.version,
            "stop_words_sha256": hashlib.sha256(words.encode()).hexdigest()[:16],
        }

    def _spans_of_tokens(self, text: str) -> list[tuple[str, int, int]]:
        return list(token_spans(text, self._normalise, self._words))

    def _read_stop_words(self) -> frozenset[str]:
        """Return the stop words as tokens: list entries are read like any text, so their spelling does not matter."""
        words = self.settings.stop_list
        if isinstance(words, str):
            words = stop_list(words)
        return frozenset(token for word in words or () for token in self.tokens(word))

    def _make_term(self, token: str) -> str:
        """Return a token's term, or "" for a stop word or a token that folding leaves nothing of."""
        if token in self.stop_words:
            return ""
        term = token[:LONGEST_TERM]
        if self._folds_first:
            term = fold_diacritics(term)
        term = self._stemmers.stem(term) or term
        if self.settings.fold_diacritics:
            term = fold_diacritics(term)
        return term.replace(ZERO_WIDTH_NON_JOINER, "")


class _Stemmers(threading.local):
    """A stemmer for each thread, since Snowball's objects hold the state of the word that is being stemmed."""

    def __init__(self, name: str | None) -> None:
        self.version: str | None = None
        self.stem: Callable[[str], str] = str
        if name is not None:
            import Stemmer

            stemmer = Stemmer.Stemmer(name)
            stemmer.maxCacheSize = 0  # terms are remembered here
            self.stem = stemmer.stemWord
            # A release of Snowball may change stems, a patch release does not.
            self.version = ".".join(Stemmer.version().split(".")[:2])


class _Memo(dict[str, str]):
    """token -> term, made at the first look-up; forgets everything when it is full, which bounds its memory."""

    def __init__(self, make: Callable[[str], str]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, token: str) -> str:
        if len(token) > LONGEST_TERM:
            return self._make(token)
        if len(self) >= _MEMO_SIZE:
            self.clear()
        term = self[token] = self._make(token)
        return term
