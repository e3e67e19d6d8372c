"""Documents cut into the pieces that a reranker reads one by one: windows over words, tokens or sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, get_args

import numpy as np

from retrieval.analysis.scripts import UNSPACED_SCRIPTS
from retrieval.errors import RerankerError
from retrieval.rerankers.base import Candidates
from retrieval.sentences import sentence_ranges

Unit = Literal["words", "tokens", "sentences"]

TokenSpans = Callable[[Sequence[str]], list[np.ndarray]]
"""From texts to the character start and end of each of a model's tokens, (tokens, 2) int64 each."""

_LONGEST_WORD = 64
"""Characters without a space that are one word; a model makes many tokens of more, and would read their beginning."""


@dataclass(frozen=True)
class Splitting:
    """How a document becomes passages: `size` units each, one beginning every `stride` units.

    The last passage is the first one that reaches the end. The defaults are those of Dai and Callan (SIGIR 2019).

    Attributes:
        size: units of a passage.
        stride: units from the beginning of a passage to that of the next one.
        unit: "words" are what stands between spaces, single characters in scripts written without spaces; "tokens" are
            those of the model that reads the passages; or "sentences".
        most: passages of a document; of one that has more the first one, the last one and evenly spread others are
            read, where the study drew them at random.
        title_words: words of the title in front of each passage, where the document has a title; the passages are then
            those of its text. 0 leaves the title where it is, at the beginning of the first passage.

    Raises:
        RerankerError: a value is out of its range.
    """

    size: int = 150
    stride: int = 75
    unit: Unit = "words"
    most: int = 30
    title_words: int = 0

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise RerankerError(f"unknown unit {self.unit!r} of passages: one of {', '.join(get_args(Unit))}")
        for name, least in (("size", 1), ("stride", 1), ("most", 1), ("title_words", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise RerankerError(f"{name} must be a whole number, at least {least}, not {value!r}")
        if self.stride > self.size:
            raise RerankerError(f"a stride of {self.stride} would leave out text between passages of {self.size}")

    def windows(self, n_units: int) -> list[tuple[int, int]]:
        """Return the passages of a text of so many units, first unit and the one behind the last; one at least."""
        beyond_first = max(n_units - self.size, 0)
        n = 1 + -(-beyond_first // self.stride)
        chosen = np.arange(n) if n <= self.most else np.rint(np.linspace(0, n - 1, self.most)).astype(np.int64)
        return [(at * self.stride, min(at * self.stride + self.size, n_units)) for at in chosen.tolist()]


class SplitTexts(NamedTuple):
    """The passages of several documents.

    Attributes:
        passages: in the order of the documents and their texts; of each document one at least.
        firsts: (n_documents,) int64, where those of each document begin.
    """

    passages: list[str]
    firsts: np.ndarray


def split_candidates(candidates: Candidates, splitting: Splitting, token_spans: TokenSpans | None) -> SplitTexts:
    """Return the passages of a query's candidates.

    Args:
        candidates: of one query; titles are known where they have `title_lengths`.
        splitting: how they are cut.
        token_spans: of the model that reads the passages; only tokens need it.
    """
    lengths = candidates.title_lengths if splitting.title_words and candidates.title_lengths else [0] * len(candidates)
    bodies = [text[length:].lstrip() for text, length in zip(candidates.texts, lengths, strict=True)]
    passages: list[str] = []
    firsts = []
    for text, length, body, spans in zip(
        candidates.texts, lengths, bodies, _spans(bodies, splitting.unit, token_spans), strict=True
    ):
        title = _beginning(text[:length], splitting.title_words)
        firsts.append(len(passages))
        for first, behind in splitting.windows(len(spans)):
            passage = body[spans[first][0] : spans[behind - 1][1]] if behind > first else ""
            passages.append(f"{title} {passage}" if title and passage else title or passage)
    return SplitTexts(passages, np.array(firsts, np.int64))


def word_spans(text: str) -> list[tuple[int, int]]:
    """Return where the words of a text stand, as `Splitting` counts them."""
    return [match.span() for match in _word_pattern().finditer(text)]


@cache
def _word_pattern() -> re.Pattern[str]:
    unspaced = "".join(UNSPACED_SCRIPTS.values())
    return re.compile(rf"[{unspaced}]|[^\s{unspaced}]{{1,{_LONGEST_WORD}}}")


def _spans(texts: Sequence[str], unit: Unit, token_spans: TokenSpans | None) -> Sequence[Sequence[tuple[int, int]]]:
    if unit == "words":
        return [word_spans(text) for text in texts]
    if unit == "sentences":
        return [sentence_ranges(text) for text in texts]
    assert token_spans is not None
    return [[(start, end) for start, end in spans.tolist()] for spans in token_spans(texts)]


def _beginning(title: str, n_words: int) -> str:
    words = word_spans(title)[:n_words]
    return title[words[0][0] : words[-1][1]] if words else ""
