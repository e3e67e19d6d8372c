"""What every side of the BM25 benchmark can do, and the terms that all of them index."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from indexes.bm25 import BM25Settings
from retrieval.analysis import Analyser, AnalyserSettings


class Texts(NamedTuple):
    """Texts and their ids, in the order in which they are added."""

    ids: list[str]
    texts: list[str]


class LexicalSide(Protocol):
    """One library over one set of texts, opened for searching.

    A query is a string: its analysis, by this engine's analyser on every side, counts in every clock, and so does
    making the list of string ids.
    """

    def __init__(self, directory: Path, texts: Texts, threads: int) -> None:
        """Open what `build` wrote; `threads` is how many queries may run at a time."""

    @classmethod
    def build(cls, directory: Path, texts: Texts) -> None:
        """Index the texts in a directory that exists and is empty."""

    def search(self, queries: Sequence[str], k: int) -> list[list[str]]:
        """Return the ids of the best k documents at most for each query."""

    def search_one(self, query: str, k: int) -> list[str]:
        """Return the ids of the best k documents at most."""

    def scores(self, queries: Sequence[str], k: int) -> list[np.ndarray]:
        """Return the best k positive scores at most for each query, descending float64; not timed."""


def default_analyser() -> Analyser:
    """Return the analyser whose terms every side indexes."""
    return Analyser(AnalyserSettings())


def default_parameters() -> BM25Settings:
    """Return BM25's parameters on every side that can set them."""
    return BM25Settings()
