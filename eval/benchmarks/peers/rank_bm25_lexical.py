"""rank-bm25: the plain reference in Python, one dictionary for each document; slow, so it gets few queries.

Its Okapi has another idf, floored at a share of the mean: the ratio is not one of equal results.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eval.benchmarks.peers.lexical import Texts, default_analyser, default_parameters


class RankBm25:
    """rank-bm25's Okapi over the same terms; see `LexicalSide`. It has no files: opening it indexes."""

    name = "rank-bm25"

    def __init__(self, directory: Path, texts: Texts, threads: int) -> None:  # noqa: ARG002
        from rank_bm25 import BM25Okapi

        self._analyser, parameters = default_analyser(), default_parameters()
        terms = [self._analyser.terms(text) for text in texts.texts]
        self._index = BM25Okapi(terms, k1=parameters.k1, b=parameters.b)
        self._ids = texts.ids

    @classmethod
    def build(cls, directory: Path, texts: Texts) -> None:
        """Do nothing."""

    def search(self, queries: Sequence[str], k: int) -> list[list[str]]:
        """Return the ids of the best k documents for each query."""
        return [self.search_one(query, k) for query in queries]

    def search_one(self, query: str, k: int) -> list[str]:
        """Return the ids of the best k documents."""
        found: list[str] = self._index.get_top_n(self._analyser.terms(query), self._ids, n=k)
        return found

    def scores(self, queries: Sequence[str], k: int) -> list[np.ndarray]:
        """Return its own best scores of each query."""
        found = (np.asarray(self._index.get_scores(self._analyser.terms(query)), np.float64) for query in queries)
        return [np.sort(scores[scores > 0])[::-1][:k] for scores in found]
