"""Searching sparse vectors over segments: the inner product of a query's weights with documents' impacts, or overlaps.

    score(q, d) = sum over dimensions j of q:  weight_j(q) * dimension_weight_j * impact_j(d)

With binary vectors every impact is 1; without weights the score is the number of dimensions that both have. Sums are
made in float64 in the order of the dimensions, so that scores are equal to the bit however documents are spread over
segments; sums of integers are exact anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexes.bm25_formula import LARGEST_PARAMETER
from indexes.errors import VectorError
from indexes.hits import Hits
from indexes.living import LivingDocuments, Masks, check_segment
from indexes.postings_search import Plan, PostingsSearch, score_rows
from indexes.segment_table import Formula, PostingsSegment, SearchedSegments
from indexes.sparse_index import SparseIndex, SparseIndexWriter, merge_sparse
from indexes.sparse_vectors import SparseVectors, quantised

__all__ = [
    "SparseIndex",
    "SparseIndexWriter",
    "SparseSearcher",
    "SparseSegment",
    "SparseVectors",
    "merge_sparse",
    "quantised",
]


@dataclass(frozen=True)
class SparseSegment:
    """What is searched of a segment.

    Attributes:
        index: its vectors.
        alive: (n_documents,) bool, False for deleted documents; None when none is deleted.
        sequences: (n_documents,) int64, ascending: equal scores are ordered by it.
    """

    index: SparseIndex
    alive: np.ndarray | None
    sequences: np.ndarray

    def __post_init__(self) -> None:
        check_segment(self.index.n_documents, self.alive, self.sequences)


class SparseSearcher:
    """Searches segments as one collection; immutable, safe to use from several threads.

    Args:
        segments: what to search, all of one payload; their numbers in `Hits` are their places here.
        dimension_weights: (n,) what each dimension counts, 0 to 1e100: idf, or one weight a bucket; dimensions beyond
            n, and all without them, count 1. Those that count 0 are passed over.

    Raises:
        ValueError: the segments have different payloads, or a weight is negative or larger than 1e100.
    """

    def __init__(self, segments: Sequence[SparseSegment], dimension_weights: np.ndarray | None = None) -> None:
        payloads = {segment.index.payload for segment in segments}
        if len(payloads) > 1:
            raise ValueError(f"segments of one payload can be searched together, not of {sorted(payloads)}")
        if dimension_weights is not None:
            dimension_weights = np.array(dimension_weights, np.float64)
            if dimension_weights.ndim != 1:
                raise ValueError(f"dimension weights are one number each, not an array {dimension_weights.shape}")
            wrong = np.flatnonzero(~((dimension_weights >= 0) & (dimension_weights <= LARGEST_PARAMETER)))
            if len(wrong):
                found = f"dimension {wrong[0]} has {dimension_weights[wrong[0]]}"
                raise ValueError(f"dimension weights must be numbers from 0 to {LARGEST_PARAMETER}: {found}")
        self._segments = tuple(segments)
        self._dimension_weights = dimension_weights
        self._living = LivingDocuments(
            [segment.index.n_documents for segment in segments], [segment.alive for segment in segments]
        )
        self._searched = SearchedSegments([_searched(segment) for segment in segments])

    def search_many(
        self,
        queries: SparseVectors,
        k: int,
        masks: Masks | None = None,
        threads: int | None = None,
        *,
        daring: float = 1.0,
    ) -> list[Hits]:
        """Return for each query the best k documents that share at least one dimension with it.

        Args:
            queries: their weights may be any numbers up to 1e100; entries of weight 0 are passed over.
            k: how many at most.
            masks: for each segment which documents may be returned, (n_documents,) bool; None allows all. Deleted
                documents are never returned.
            threads: how many queries run at a time; None takes all processors. Results do not depend on it.
            daring: 1 finds the best k. A larger factor is faster and may miss some, see `BM25Searcher.search_many`.

        Raises:
            VectorError: the queries are not in order, or a weight is too large.
            ValueError: a mask does not fit, or `daring` is below 1.
            CorruptIndexError: a list is damaged.
        """
        if not 1 <= daring <= LARGEST_PARAMETER:
            raise ValueError(f"daring must be a finite factor of at least 1, not {daring!r}; 1 searches exactly")
        plan = self._plan(queries.checked())
        allowed = self._living.allowed(masks)
        if k <= 0 or not len(queries):
            return [Hits.empty() for _ in range(len(queries))]
        return PostingsSearch(self._searched, allowed, plan, k, daring).run(threads)

    def score(self, query: SparseVectors, segment: int, rows: np.ndarray) -> np.ndarray:
        """Return the scores of given documents for one query, (n,) float64, 0 where nothing is shared.

        Use it to score candidates that came from elsewhere. Tombstones are not looked at.

        Args:
            query: one vector.
            segment: number of the segment.
            rows: (n,) rows of it, in any order.

        Raises:
            VectorError: the query is not one vector in order, or a weight is too large.
            ValueError: there are no such rows.
            CorruptIndexError: a document's list is damaged.
        """
        if len(query) != 1:
            raise VectorError(f"documents are scored for one query, not for {len(query):,}")
        plan = self._plan(query.checked())
        held = plan.lists[segment] >= 0
        return score_rows(self._searched, segment, plan.lists[segment][held], plan.weights[held], rows)

    def _plan(self, queries: SparseVectors) -> Plan:
        dimensions = queries.dimensions
        weights = np.ones(len(dimensions)) if queries.weights is None else queries.weights.astype(np.float64)
        large = np.flatnonzero(weights > LARGEST_PARAMETER)
        if len(large):  # scores would not be finite
            found = f"dimension {dimensions[large[0]]} has {weights[large[0]]}"
            raise VectorError(f"a query weight must be at most {LARGEST_PARAMETER}: {found}")
        if self._dimension_weights is not None:
            known = dimensions < len(self._dimension_weights)
            weights[known] *= self._dimension_weights[dimensions[known]]
        counted = weights > 0
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(counted)])
        kept = dimensions[counted].astype(np.int64)
        lists = [np.where(kept < segment.index.n_dimensions, kept, -1) for segment in self._segments]
        return Plan(before[queries.offsets], weights[counted], lists)


def _searched(segment: SparseSegment) -> PostingsSegment:
    worth = np.arange(256.0)
    if segment.index.payload == "binary":
        worth = (worth == 1).astype(np.float64)
    index = segment.index
    return PostingsSegment(index.postings, index.documents, Formula.of_impacts(worth), segment.sequences)
