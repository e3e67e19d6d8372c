"""Searching the postings of several segments as one collection: what is around the kernels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from indexes.compilation import read_only
from indexes.documents import PackedDocuments
from indexes.hits import Hits, merge_hits, select_top
from indexes.lists import offsets_of
from indexes.postings import Postings

if TYPE_CHECKING:
    from indexes import kernels

_QUERIES_PER_TASK = 16
_RESULTS_PER_TASK = 1 << 22
_UNREAD_AT_A_TIME = 1 << 12
_POSTINGS_PER_LOOK_UP = 400
"""Scoring a document from its own list costs about as much as adding up this many postings, roughly: the kernel
estimates it from the size of the lists."""


@dataclass(frozen=True)
class PostingsSegment:
    """What is searched of a segment.

    Attributes:
        postings: its lists.
        documents: its documents' lists.
        formula: what postings are worth.
        sequences: (n_documents,) int64, ascending: equal scores are ordered by it.
        luck: (4,) int64, what searches learn about it; see `kernels.views.Best`.
    """

    postings: Postings
    documents: PackedDocuments
    formula: kernels.Formula
    sequences: np.ndarray
    luck: np.ndarray = field(default_factory=lambda: np.zeros(4, np.int64))


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


class _SegmentPlan(NamedTuple):
    bounds: np.ndarray  # (n_queries + 1,) int64
    lists: np.ndarray  # (n,) int64, those that the segment holds
    weights: np.ndarray  # (n,) float64
    n_postings: np.ndarray  # (n_queries,) int64; 0 where no documents are left out


class PostingsSearch:
    """Searches segments for planned queries; immutable, safe to use from several threads.

    Args:
        segments: what to search; their numbers in `Hits` are their places here.
        allowed: for each segment which documents may be returned, (n_documents,) bool; an empty array allows all.
        plan: the queries.
        k: how many documents to return at most for each, at least 1.
        daring: 1 is exact; a larger factor multiplies the score that a document must be able to reach where lists are
            left unread, see `indexes.kernels`.
    """

    def __init__(
        self,
        segments: Sequence[PostingsSegment],
        allowed: Sequence[np.ndarray],
        plan: Plan,
        k: int,
        daring: float = 1.0,
    ) -> None:
        self._segments = segments
        self._allowed = allowed
        self._k = k
        self._daring = float(daring)  # an integer would have the kernel compiled once more
        self._n_queries = len(plan.bounds) - 1
        self._plans = [self._planned(number, plan) for number in range(len(segments))]

    def run(self, threads: int | None = None) -> list[Hits]:
        """Return the best documents for each query.

        Args:
            threads: how many queries run at a time; None takes all processors. Results do not depend on it.

        Raises:
            CorruptIndexError: a list is damaged.
        """
        n_documents = sum(len(segment.documents) for segment in self._segments)
        size = max(1, min(_QUERIES_PER_TASK, _RESULTS_PER_TASK // min(self._k, max(n_documents, 1))))
        tasks = [(first, min(first + size, self._n_queries)) for first in range(0, self._n_queries, size)]
        workers = min(threads or _n_processors(), len(tasks))
        if workers <= 1:
            parts = [self._search(first, last) for first, last in tasks]
        else:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(workers) as pool:
                parts = list(pool.map(lambda task: self._search(*task), tasks))
        return [hits for part in parts for hits in part]

    def _planned(self, number: int, plan: Plan) -> _SegmentPlan:
        postings, lists = self._segments[number].postings, plan.lists[number]
        held = np.flatnonzero(lists >= 0)
        everything = len(held) == len(lists)
        bounds = plan.bounds if everything else np.searchsorted(held, plan.bounds)
        own = (lists if everything else lists[held]).astype(np.int64, copy=False)
        weights = plan.weights if everything else plan.weights[held]
        postings.touch(own)
        n_postings = np.zeros(self._n_queries, np.int64)
        if len(self._allowed[number]):
            starts, ends = postings.spans(own)
            before = offsets_of(ends - starts)
            n_postings = before[bounds[1:]] - before[bounds[:-1]]
        return _SegmentPlan(read_only(bounds), read_only(own), read_only(weights), n_postings)

    def _search(self, first: int, last: int) -> list[Hits]:
        """Search for the queries first, first + 1, ... last - 1 in one segment after the other."""
        # A document worse than the k-th best of the segments before cannot be in the answer.
        floors = np.zeros(last - first)
        parts: list[list[Hits]] = [[] for _ in range(last - first)]
        for number, segment in enumerate(self._segments):
            depth = min(self._k, len(segment.documents))
            if not depth:
                continue
            scores = np.empty((last - first, depth), np.float64)
            rows = np.empty((last - first, depth), np.int64)
            counts = self._scored_from_documents(number, first, scores, rows)
            self._run_kernel(number, first, floors, scores, rows, counts)
            if depth == self._k:
                full = counts == depth
                floors[full] = np.maximum(floors[full], scores[full, -1])
            for query, count in enumerate(counts.tolist()):
                if count:
                    found = rows[query, :count].copy(), scores[query, :count].copy()
                    parts[query].append(Hits.of_segment(number, *found, segment.sequences))
        return [merge_hits(part, self._k) for part in parts]

    def _run_kernel(  # noqa: PLR0917 - what is read, then what is written
        self, number: int, first: int, floors: np.ndarray, scores: np.ndarray, rows: np.ndarray, counts: np.ndarray
    ) -> None:
        from indexes import kernels

        segment, plan = self._segments[number], self._plans[number]
        unread, touched = np.empty(_UNREAD_AT_A_TIME, np.int64), np.zeros(1, np.int64)
        status = kernels.UNREAD
        while status == kernels.UNREAD:
            status = kernels.search(
                plan.bounds[first : first + len(counts) + 1],
                plan.lists,
                plan.weights,
                segment.postings.for_kernels(),
                segment.documents.for_kernels(),
                segment.formula,
                self._allowed[number],
                read_only(floors),
                self._daring,
                scores,
                rows,
                counts,
                unread,
                segment.luck,
                touched,
            )
            if status == kernels.UNREAD:
                segment.documents.touch(unread[unread >= 0])
                # Documents come in the order of their rows, many to a block: a first search for very many must not
                # begin again for every few of them.
                unread = np.empty(4 * len(unread), np.int64)
        if status == kernels.DAMAGED:
            raise segment.postings.damaged("points to impossible postings, or a document to an impossible list")

    def _scored_from_documents(self, number: int, first: int, scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Answer the queries that are answered faster from the documents' own lists.

        These are queries for few documents, and those of more lists than a kernel takes.

        Returns:
            (n_queries,) int64, how many documents were found; `kernels.UNREAD` for queries that are not answered yet.
        """
        from indexes import kernels

        segment, plan, allowed = self._segments[number], self._plans[number], self._allowed[number]
        counts = np.full(len(scores), kernels.UNREAD)
        few = np.zeros(len(counts), bool)
        if len(allowed):
            few = np.count_nonzero(allowed) * _POSTINGS_PER_LOOK_UP < plan.n_postings[first : first + len(counts)]
        many_lists = np.diff(plan.bounds[first : first + len(counts) + 1]) > kernels.MOST_LISTS
        for query in np.flatnonzero(few | many_lists).tolist():
            candidates = np.flatnonzero(allowed) if len(allowed) else np.arange(len(segment.documents))
            lists = slice(plan.bounds[first + query], plan.bounds[first + query + 1])
            found = score_rows(segment, plan.lists[lists], plan.weights[lists], candidates)
            matches = np.flatnonzero(found > 0)
            best, values = select_top(found[matches], candidates[matches], scores.shape[1])
            counts[query] = len(best)
            rows[query, : len(best)], scores[query, : len(best)] = best, values
        return counts


def score_rows(segment: PostingsSegment, lists: np.ndarray, weights: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the scores of given documents, (n,) float64: what a search gives them, 0 without any of the lists.

    Args:
        segment: where they lie.
        lists: (n_lists,) int64, ascending.
        weights: (n_lists,) float64.
        rows: (n,) rows, in any order.

    Raises:
        ValueError: there are no such rows.
        CorruptIndexError: a document's list is damaged.
    """
    from indexes import kernels

    rows = np.ascontiguousarray(rows, np.int64)
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(segment.documents)):
        raise ValueError(f"rows from {rows.min()} to {rows.max()} of a segment of {len(segment.documents):,} documents")
    segment.documents.touch(rows)
    scores = np.empty(len(rows))
    query = kernels.Query(read_only(np.ascontiguousarray(lists, np.int64)), read_only(weights))
    if not kernels.score_all(query, segment.documents.for_kernels(), segment.formula, read_only(rows), scores):
        raise segment.documents.damaged("points to impossible lists")
    return scores


def _n_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
