"""Exact dense search: the k documents of largest inner product, over any number of segments, bit for bit repeatable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from indexes.compilation import read_only
from indexes.dense_batch import query_batches
from indexes.errors import CorruptIndexError, VectorError
from indexes.hits import Hits
from indexes.vectors import VectorStore, check_vectors


@dataclass(frozen=True, eq=False)
class DenseSegment:
    """One segment of a snapshot as dense search needs it.

    Attributes:
        store: the vectors.
        alive: (n_documents,) bool, False where a document was deleted; None when none was.
        sequences: (n_documents,) int64, sequence number of each document row.

    Raises:
        CorruptIndexError: the store has passages of documents that the segment does not have.
        VectorError: `alive` does not fit.
    """

    store: VectorStore
    alive: np.ndarray | None
    sequences: np.ndarray

    def __post_init__(self) -> None:
        if len(self.store.rows) and int(self.store.rows[-1]) >= len(self.sequences):
            raise CorruptIndexError(
                f"vectors belong to document row {self.store.rows[-1]}, the segment has {len(self.sequences)} documents"
            )
        self._check_mask(self.alive)

    def allowed(self, mask: np.ndarray | None) -> np.ndarray | None:
        """Return which documents may be returned, (n_documents,) bool; None when all may.

        Args:
            mask: (n_documents,) bool, what a filter lets through; None = all. Deleted documents are never allowed.
        """
        self._check_mask(mask)
        if mask is None or self.alive is None:
            return self.alive if mask is None else mask
        return mask & self.alive

    def allowed_passages(self, mask: np.ndarray | None) -> np.ndarray | None:
        """Return which passages belong to documents that may be returned, (n_passages,) bool; None when all do."""
        if mask is None:
            return self._alive_passages
        allowed = self.allowed(mask)
        return None if allowed is None else allowed[self.store.rows]

    @cached_property
    def _alive_passages(self) -> np.ndarray | None:
        return None if self.alive is None else self.alive[self.store.rows]

    def _check_mask(self, mask: np.ndarray | None) -> None:
        if mask is not None and (mask.shape != self.sequences.shape or mask.dtype != np.bool_):
            raise VectorError(f"a mask must be bool {self.sequences.shape}, got {mask.dtype} {mask.shape}")


def search_exact(
    segments: Sequence[DenseSegment],
    queries: np.ndarray,
    k: int,
    masks: Sequence[np.ndarray | None] | None = None,
    *,
    threads: int | None = None,
) -> list[Hits]:
    """Return the k documents of largest inner product for each query: the default search, and the others' yardstick.

    A document's score is that of its best passage. The answer is the same for any batch, number of threads and division
    into segments. Memory stays bounded whatever the number of passages and queries.

    Args:
        segments: what to search, all of one dimension.
        queries: (n_queries, d); `normalise` them before where the similarity is "cosine".
        k: how many documents at most.
        masks: for each segment which documents may be returned, (n_documents,) bool; None = all that are alive.
        threads: workers for large batches; None = one per processor. Matrix products have the threads of numpy's BLAS.

    Raises:
        VectorError: queries or masks that do not fit.
    """
    hits: list[Hits] = []
    for batch in query_batches(segments, queries, k, masks):
        for number in range(len(segments)):
            batch.scan(number, threads)
        hits += batch.hits()
    return hits


def best_passage(segment: DenseSegment, row: int, query: np.ndarray) -> tuple[int, float]:
    """Return which passage gave a document its score, as (position in the store, score); the first one of equals.

    Args:
        segment: where the document lies.
        row: its row.
        query: (d,), prepared as for the search.

    Raises:
        VectorError: the document has no passage, or the query does not fit.
    """
    from indexes.dense_scoring import score_rows

    start, stop = segment.store.passages_of(row)
    if start == stop:
        raise VectorError(f"document row {row} has no vector")
    vector = check_vectors(np.atleast_2d(query), segment.store.dimension)[0]
    scores = score_rows(read_only(segment.store.vectors), np.arange(start, stop), read_only(vector))
    best = int(np.argmax(scores))
    return start + best, float(scores[best])
