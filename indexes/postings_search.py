"""Searching the postings of several segments as one collection: what is around the kernels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from indexes.compilation import read_only
from indexes.hits import Hits
from indexes.segment_table import AllowedDocuments, SearchedSegments

_QUERIES_PER_TASK = 16
_RESULTS_PER_TASK = 1 << 22
_UNREAD_AT_A_TIME = 1 << 12


class Plan(NamedTuple):
    """Queries, looked up.

    Attributes:
        bounds: (n_queries + 1,) int64; query q has the lists bounds[q]:bounds[q + 1], in the order of their terms.
        weights: (n,) float64, positive.
        lists: for each segment the numbers of the lists, (n,) int64, -1 for terms that it does not hold; ascending in
            each query where they are not.
    """

    bounds: np.ndarray
    weights: np.ndarray
    lists: Sequence[np.ndarray]


class PostingsSearch:
    """Searches segments for planned queries; immutable, safe to use from several threads.

    Args:
        searched: what to search; numbers of segments in `Hits` are their places there.
        allowed: which documents may be returned.
        plan: the queries.
        k: how many documents to return at most for each, at least 1.
        daring: 1 is exact; a larger factor multiplies the score that a document must be able to reach where lists are
            left unread, see `indexes.kernels`.
    """

    def __init__(
        self,
        searched: SearchedSegments,
        allowed: AllowedDocuments,
        plan: Plan,
        k: int,
        daring: float = 1.0,
    ) -> None:
        self._searched = searched
        self._allowed = allowed
        self._k = min(k, searched.n_documents)
        self._daring = float(daring)  # an integer would have the kernel compiled once more
        self._n_queries = len(plan.bounds) - 1
        self._bounds, self._weights = read_only(plan.bounds), read_only(plan.weights)
        lists = np.array(plan.lists, np.int64).reshape(len(searched.segments), len(plan.weights))
        self._lists = read_only(lists)
        for segment, own in zip(searched.segments, lists, strict=True):
            segment.postings.touch(own[own >= 0])

    def run(self, threads: int | None = None) -> list[Hits]:
        """Return the best documents for each query.

        Args:
            threads: how many queries run at a time; None takes all processors. Results do not depend on it.

        Raises:
            CorruptIndexError: a list is damaged.
        """
        if self._k == 0:
            return [Hits.empty() for _ in range(self._n_queries)]
        size = max(1, min(_QUERIES_PER_TASK, _RESULTS_PER_TASK // self._k))
        tasks = [(first, min(first + size, self._n_queries)) for first in range(0, self._n_queries, size)]
        workers = min(threads or _n_processors(), len(tasks))
        if workers <= 1:
            parts = [self._search(first, last) for first, last in tasks]
        else:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(workers) as pool:
                parts = list(pool.map(lambda task: self._search(*task), tasks))
        return [hits for part in parts for hits in part]

    def _search(self, first: int, last: int) -> list[Hits]:
        """Search for the queries first, first + 1, ... last - 1."""
        from indexes import kernels

        shape = (last - first, self._k)
        segments, rows = np.empty(shape, np.int32), np.empty(shape, np.int64)
        scores, sequences = np.empty(shape), np.empty(shape, np.int64)
        counts = np.full(last - first, kernels.UNREAD)
        unread, touched = np.empty((_UNREAD_AT_A_TIME, 2), np.int64), np.zeros(1, np.int64)
        status = kernels.UNREAD
        while status == kernels.UNREAD:
            table = self._searched.table()
            status = kernels.search(
                table.fields,
                table.formulas,
                self._allowed.table,
                table.order,
                self._bounds[first : last + 1],
                self._lists,
                self._weights,
                self._daring,
                scores,
                segments,
                rows,
                sequences,
                counts,
                unread,
                self._searched.luck,
                touched,
            )
            if status == kernels.UNREAD:
                for number, segment in enumerate(self._searched.segments):
                    segment.documents.touch(unread[unread[:, 0] == number, 1])
                # Documents come in the order of their rows, many to a block: a first search for very many must not
                # begin again for every few of them.
                unread = np.empty((4 * len(unread), 2), np.int64)
        if status <= kernels.DAMAGED:
            damaged = self._searched.segments[kernels.DAMAGED - status].postings
            raise damaged.damaged("points to impossible postings, or a document to an impossible list")
        columns = zip(segments, rows, scores, sequences, strict=True)
        return [
            Hits(*(column[:count] for column in found)) for found, count in zip(columns, counts.tolist(), strict=True)
        ]


def score_rows(
    searched: SearchedSegments, number: int, lists: np.ndarray, weights: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Return the scores of given documents, (n,) float64: what a search gives them, 0 without any of the lists.

    Args:
        searched: all segments.
        number: the documents' segment.
        lists: (n_lists,) int64, ascending.
        weights: (n_lists,) float64.
        rows: (n,) rows, in any order.

    Raises:
        ValueError: there are no such rows.
        CorruptIndexError: a document's list is damaged.
    """
    from indexes import kernels

    documents = searched.segments[number].documents
    rows = np.ascontiguousarray(rows, np.int64)
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(documents)):
        raise ValueError(f"rows from {rows.min()} to {rows.max()} of a segment of {len(documents):,} documents")
    documents.touch(rows)
    scores, table = np.empty(len(rows)), searched.table()
    query = np.array(lists, np.int64), np.array(weights, np.float64)  # not read-only, as within the other kernel
    if not kernels.score_all(table.fields, table.formulas, number, *query, read_only(rows), scores):
        raise documents.damaged("points to impossible lists")
    return scores


def _n_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
