"""scipy: the product of sparse matrices, then the k largest scores by partition; brute force, and the judge of all.

There are two ways round, the documents times the query as a column, or the query times the lists of the dimensions.
Each set of queries takes the way that answers its first few faster.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eval.benchmarks.peers.sparse import Found, matrix, top
from eval.benchmarks.sparse_vectors import SparseVectors

_TRIED = 3


class _Prepared(NamedTuple):
    queries: Any  # CSR (n_queries, n_dimensions)
    by_lists: bool


class ScipyProduct:
    """scipy's products on one thread, the only way it has; see `SparseSide`."""

    name = "scipy"
    exact = True
    points: Sequence[str] = ("",)

    def __init__(self, directory: Path, documents: SparseVectors, n_dimensions: int, threads: int) -> None:  # noqa: ARG002
        self._n_dimensions = n_dimensions
        self._documents = matrix(documents, n_dimensions)
        self._lists = self._documents.T.tocsr()

    @classmethod
    def build(cls, directory: Path, documents: SparseVectors, n_dimensions: int) -> None:
        """Do nothing: the matrices are in memory."""

    def prepare(self, queries: SparseVectors) -> Any:
        """Return the queries as a matrix and the faster way."""
        rows = matrix(queries, self._n_dimensions)
        seconds = {}
        for by_lists in (False, True):
            tried = _Prepared(rows[:_TRIED], by_lists)
            self.search(tried, 10, "")
            began = time.perf_counter()
            self.search(tried, 10, "")
            seconds[by_lists] = time.perf_counter() - began
        return _Prepared(rows, min(seconds, key=lambda way: seconds[way]))

    def search(self, prepared: Any, k: int, point: str) -> Any:  # noqa: ARG002
        """Multiply and partition, query by query."""
        answers = []
        for number in range(prepared.queries.shape[0]):
            query = prepared.queries[number]
            if prepared.by_lists:
                product = query @ self._lists
                best = top(product.data, k)
                answers.append(Found(product.indices[best.rows], best.scores))
            else:
                answers.append(top(self._documents @ query.toarray()[0], k))
        return answers

    def found(self, answers: Any, prepared: Any) -> list[Found]:  # noqa: ARG002
        """Return the answers, ties in the order of the rows."""
        found = []
        for rows, scores in answers:
            order = np.lexsort((rows, -scores))
            found.append(Found(rows[order].astype(np.int64), scores[order]))
        return found

    def all_scores(self, queries: SparseVectors, number: int) -> np.ndarray:
        """Return one query's score of every document, (n_documents,) float32."""
        return np.asarray(self._documents @ matrix(queries, self._n_dimensions)[number].toarray()[0])

    def way(self, queries: SparseVectors) -> str:
        """Say which way round is the faster one."""
        return "query by lists" if len(queries) and self.prepare(queries).by_lists else "documents by query"
