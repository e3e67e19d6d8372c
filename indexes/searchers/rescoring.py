"""Searching with a searcher: it names candidates, their stored vectors decide.

Scores are those of exact search, to the bit; only which documents are found is approximate. Documents that are deleted
or filtered out never take a candidate's place, newer segments are searched exactly, and a search that comes up short
looks further until it has k documents or has seen all there are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexes.dense import DenseSegment
from indexes.dense_batch import FEW, QueryBatch, query_batches
from indexes.errors import VectorError
from indexes.hits import Hits
from indexes.searchers.base import Searcher, selected

# A filter that leaves at most so many passages, or the share FEW of them, is scored exactly: that is faster than
# looking for them among the others, and nothing is missed.
_FEW_PASSAGES = 4096
# Candidates are named as if at least so many documents were asked for: the order of a handful is the least certain.
_LEAST_K = 10
# A search that came up short asks for so many times more.
_WIDEN = 4


def search_with(
    searcher: Searcher,
    covered: Sequence[int],
    segments: Sequence[DenseSegment],
    queries: np.ndarray,
    k: int,
    *,
    masks: Sequence[np.ndarray | None] | None = None,
    threads: int | None = None,
) -> list[Hits]:
    """Return about the k documents of largest inner product for each query, with their exact scores.

    Args:
        searcher: built over the stores of the covered segments.
        covered: positions of those in `segments`, in the order in which the searcher was built over them.
        segments: what to search; those that are not covered are searched exactly.
        queries: (n_queries, d), as for `search_exact`.
        k: how many documents at most.
        masks: as for `search_exact`.
        threads: as for `search_exact`.

    Raises:
        VectorError: queries or masks that do not fit, or a searcher that covers something else.
    """
    view = _Covered(searcher, covered, segments)
    hits: list[Hits] = []
    for batch in query_batches(segments, queries, k, masks):
        view.search(batch, [None] * len(segments) if masks is None else masks, threads)
        for number in range(len(segments)):
            if number not in covered:
                batch.scan(number, threads)
        hits += batch.hits()
    return hits


class _Covered:
    """The segments that a searcher covers, as one sequence of passages."""

    def __init__(self, searcher: Searcher, covered: Sequence[int], segments: Sequence[DenseSegment]) -> None:
        self._searcher = searcher
        self._numbers = covered
        self._segments = [segments[number] for number in covered]
        sizes = [segment.store.n_passages for segment in self._segments]
        self._edges = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])  # (n_covered + 1,)
        dimensions = {segment.store.dimension for segment in self._segments} or {searcher.dimension}
        if self._edges[-1] != searcher.n_passages or dimensions != {searcher.dimension}:
            raise VectorError(
                f"the searcher covers {searcher.n_passages:,} x {searcher.dimension} passages, the segments given have "
                f"{self._edges[-1]:,}; build it again"
            )

    def search(self, batch: QueryBatch, masks: Sequence[np.ndarray | None], threads: int | None) -> None:
        """Take the best documents of all covered segments for every query of a batch."""
        parts = [
            segment.allowed_passages(masks[number])
            for number, segment in zip(self._numbers, self._segments, strict=True)
        ]
        allowed = self._joined(parts)
        n_allowed = selected(allowed, self._searcher.n_passages)
        n = self._wanted(batch.k)
        few = 0 if allowed is None else max(_FEW_PASSAGES, FEW * self._searcher.n_passages)
        if n_allowed <= max(n, few):
            for number in self._numbers:
                batch.scan(number, threads)
            return
        pending = list(range(len(batch.queries)))
        while pending:
            found = self._searcher.candidates(batch.queries[pending], n, allowed)
            for query, positions in zip(pending, found, strict=True):
                self._score(batch, query, positions)
            pending = [query for query in pending if batch.found(query) < batch.k]
            if not pending:
                return
            goal = min(batch.k, self._n_documents(parts))
            pending = [query for query in pending if batch.found(query) < goal]
            for query in pending:
                batch.forget(query)
            n *= _WIDEN
            if n >= n_allowed:  # what is missing lies in lists or parts of the graph out of reach: look at everything
                everything = np.arange(self._searcher.n_passages) if allowed is None else np.flatnonzero(allowed)
                for query in pending:
                    self._score(batch, query, everything)
                return

    def _wanted(self, k: int) -> int:
        documents = sum(segment.store.n_documents for segment in self._segments)
        passages_each = -(-self._searcher.n_passages // max(1, documents))
        return max(k, _LEAST_K) * self._searcher.settings.oversample * passages_each

    def _joined(self, parts: Sequence[np.ndarray | None]) -> np.ndarray | None:
        if all(part is None for part in parts):
            return None
        sizes = np.diff(self._edges)
        return np.concatenate(
            [np.ones(size, np.bool_) if part is None else part for part, size in zip(parts, sizes, strict=True)]
        )

    def _n_documents(self, parts: Sequence[np.ndarray | None]) -> int:
        """Return how many documents of the covered segments may be returned and have a passage."""
        total = 0
        for segment, part in zip(self._segments, parts, strict=True):
            rows = segment.store.rows if part is None else segment.store.rows[part]
            total += (
                segment.store.n_documents if part is None else int(np.count_nonzero(np.diff(rows))) + bool(len(rows))
            )
        return total

    def _score(self, batch: QueryBatch, query: int, positions: np.ndarray) -> None:
        cuts = np.searchsorted(positions, self._edges)
        for i, number in enumerate(self._numbers):
            batch.score(number, positions[cuts[i] : cuts[i + 1]] - self._edges[i], query)
