"""A batch of queries on its way through the segments: approximate scores by matrix product, exact ones for the best.

The float32 product of a block gives every passage an approximate score. Only documents that its rounding error leaves
in the running are scored by `indexes.dense_scoring`, whose result depends on the two vectors alone. So the answer does
not depend on blocks, batches, threads or segments, and equal vectors tie exactly.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from indexes.compilation import read_only
from indexes.errors import CorruptIndexError, VectorError
from indexes.hits import Hits
from indexes.vectors import VectorStore, check_vectors, norms

if TYPE_CHECKING:
    from indexes.dense import DenseSegment
    from indexes.dense_scan import Running
    from indexes.dense_scoring import Passages

# A filter that leaves at most this share of the passages makes scoring just those cheaper than a scan of all.
FEW = 0.05
_MOST_QUERIES = 1024
_ENTRY_BYTES = 24 + 2 * 12  # a document kept, and two in the running
_HEAP_BYTES = 4 << 20  # of a batch: they are fast while they stay in the processor's cache
_SPARE_ROOM = 256
_ROWS_PER_BLOCK = 1024  # so do blocks
# Up to so many queries wait for memory, not for arithmetic, and BLAS is several times slower than a plain loop.
_FEW_QUERIES = 4
# Smaller shares of the work cost more to hand out than to do.
_BYTES_PER_WORKER = 32 << 20
_QUERIES_PER_WORKER = 32


def error_bound(store: VectorStore) -> float:
    """Return how far a float32 inner product of a unit query with any vector of the store can be off, in any order.

    |fl(x·y) - x·y| <= gamma_d |x|·|y|, gamma_n = nu / (1 - nu), u = 2**-24: Higham, Accuracy and Stability of Numerical
    Algorithms, 2nd edition, equation 3.5, with |x|·|y| <= the product of the lengths (Cauchy-Schwarz). Eight more
    roundings pay for scaling the query, the float32 comparison and the final sums in float64; the last term is for
    products that vanish below the smallest normal number, also on machines that flush those to zero.
    """
    terms = (store.dimension + 8) * 2.0**-24
    return terms / (1.0 - terms) * store.largest_norm + store.dimension * 2.0**-124


def query_batches(
    segments: Sequence[DenseSegment],
    queries: np.ndarray,
    k: int,
    masks: Sequence[np.ndarray | None] | None,
) -> Iterator[QueryBatch]:
    """Check a search's input and divide the queries, in order, so that a batch's memory stays bounded.

    Args:
        segments: what is searched.
        queries: (n_queries, d).
        k: how many documents at most.
        masks: one per segment, or None.

    Raises:
        VectorError: dimensions, masks or values that do not fit.
    """
    dimensions = {segment.store.dimension for segment in segments}
    if len(dimensions) > 1:
        raise VectorError(f"segments have vectors of {sorted(dimensions)} dimensions; encode all with one encoder")
    checked = check_vectors(queries, next(iter(dimensions), None))
    masks = [None] * len(segments) if masks is None else masks
    if len(masks) != len(segments):
        raise VectorError(f"{len(segments)} segments need as many masks (None for all documents), got {len(masks)}")
    k = max(0, min(k, sum(segment.store.n_documents for segment in segments)))
    size = min(_MOST_QUERIES, max(1, _HEAP_BYTES // (_ENTRY_BYTES * max(k, 1))))
    for start in range(0, len(checked), size):
        yield QueryBatch(segments, masks, checked[start : start + size], k)


class QueryBatch:
    """Some queries and the best documents that each has met so far.

    Attributes:
        queries: (n_queries, d) float32.
        k: how many documents each keeps at most.
    """

    def __init__(
        self, segments: Sequence[DenseSegment], masks: Sequence[np.ndarray | None], queries: np.ndarray, k: int
    ) -> None:
        from indexes.dense_scoring import Best

        self.queries = _read_only(queries, np.float32)
        self.k = k
        self._segments = segments
        self._masks = masks
        self._prepared: dict[int, Passages] = {}
        shape = (len(queries), k)
        self._best = Best(
            scores=np.empty(shape),
            sequences=np.empty(shape, np.int64),
            places=np.empty(shape, np.int64),
            sizes=np.zeros(len(queries), np.int64),
        )
        lengths = norms(queries)
        self._lengths = np.where(lengths > 0, lengths, 1.0)  # (n_queries,)
        # Of length 1, so that the product neither overflows nor vanishes and has one error bound.
        self._units = _read_only(queries / self._lengths[:, None], np.float32)  # (n_queries, d)

    def scan(self, number: int, threads: int | None = None) -> None:
        """Take the best documents of one segment, exactly, for every query."""
        if not self.k:
            return
        allowed = self._segments[number].allowed_passages(self._masks[number])
        if allowed is None or np.count_nonzero(allowed) > FEW * len(allowed):
            self._scan_blocks(number, threads)
            return
        positions = np.flatnonzero(allowed)
        for query in range(len(self.queries)):
            self.score(number, positions, query)

    def score(self, number: int, positions: np.ndarray, query: int) -> None:
        """Take the best documents among those that own some passages of one segment, for one query.

        Args:
            number: the segment's.
            positions: (m,) int64 ascending; documents that may not be returned are passed over.
            query: the query's number in this batch.

        Raises:
            CorruptIndexError: there are no such passages; a searcher's files named them.
        """
        from indexes.dense_scoring import score_positions

        if self.k and len(positions):
            n_passages = self._segments[number].store.n_passages
            if positions.min() < 0 or positions.max() >= n_passages:
                raise CorruptIndexError(
                    f"a searcher names passages {positions.min()} to {positions.max()} of {n_passages:,}; "
                    "build it again"
                )
            score_positions(positions, self._passages(number), self.queries[query], self._best, query)

    def found(self, query: int) -> int:
        """Return how many documents a query has."""
        return int(self._best.sizes[query])

    def forget(self, query: int) -> None:
        """Start again for one query."""
        self._best.sizes[query] = 0

    def hits(self) -> list[Hits]:
        """Return what each query found, best first."""
        return [self._hits_of(query) for query in range(len(self.queries))]

    def _hits_of(self, query: int) -> Hits:
        size = self.found(query)
        scores, sequences, places = (
            column[query, :size] for column in (self._best.scores, self._best.sequences, self._best.places)
        )
        order = np.argsort(-scores)
        if (np.diff(scores[order]) == 0).any():
            order = np.lexsort((sequences, -scores))
        places = places[order]
        return Hits((places >> 32).astype(np.int32), places & 0xFFFFFFFF, scores[order], sequences[order])

    def _passages(self, number: int) -> Passages:
        from indexes.dense_scoring import Passages

        if number not in self._prepared:
            segment = self._segments[number]
            allowed = segment.allowed(self._masks[number])
            self._prepared[number] = Passages(
                vectors=_read_only(segment.store.vectors, np.float32),
                rows=_read_only(segment.store.rows, np.int32),
                allowed=_read_only(np.empty(0) if allowed is None else allowed, np.bool_),
                sequences=_read_only(segment.sequences, np.int64),
                first_place=_read_only(np.array([number << 32]), np.int64),
            )
        return self._prepared[number]

    def _scan_blocks(self, number: int, threads: int | None) -> None:
        from indexes.dense_scan import approximate_rows, scan_block, settle

        store, passages, n_queries = self._segments[number].store, self._passages(number), len(self.queries)
        few = n_queries <= _FEW_QUERIES
        workers = _workers(
            threads, store.vectors.nbytes // _BYTES_PER_WORKER if few else n_queries // _QUERIES_PER_WORKER
        )
        n_rows = _ROWS_PER_BLOCK * (4 * workers if few else 1)
        scores = np.empty((n_rows, n_queries), np.float32)
        columns = np.ascontiguousarray(self._units.T)  # (d, n_queries)
        error = error_bound(store)
        running = self._start(error)
        with _pool(workers) as pool:
            for start in range(0, store.n_passages, n_rows):
                block = passages.vectors[start : start + n_rows]  # (m, d)
                approximate = scores[: len(block)]  # (m, n_queries)
                if few:
                    _share(pool, workers, len(block), partial(approximate_rows, block, self._units, approximate))
                else:
                    np.matmul(block, columns, out=approximate)
                scan = partial(scan_block, approximate, start, running, passages, self._best, error)
                _share(pool, 1 if few else workers, n_queries, scan)
            _share(pool, workers, n_queries, partial(settle, running, passages, self._best, error))

    def _start(self, error: float) -> Running:
        """Return the batch at the beginning of a segment."""
        from indexes.dense_scan import Running

        n_queries, room = len(self.queries), 2 * self.k + _SPARE_ROOM
        full = self._best.sizes == self.k
        bars = np.full(n_queries, -np.inf, np.float32)
        bars[full] = self._best.scores[full, 0] / self._lengths[full] - error
        return Running(
            queries=self.queries,
            lengths=self._lengths,
            bars=bars,
            scores=np.empty((n_queries, room), np.float32),
            positions=np.empty((n_queries, room), np.int64),
            sizes=np.zeros(n_queries, np.int64),
        )


def _workers(threads: int | None, most: int) -> int:
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(threads or processors, most))


def _pool(workers: int) -> contextlib.AbstractContextManager[Executor | None]:
    # One for each search: threads do not survive a fork, and starting them is nothing beside the work that needs them.
    return ThreadPoolExecutor(workers) if workers > 1 else contextlib.nullcontext()


def _share(pool: Executor | None, workers: int, n: int, work: Callable[[int, int], None]) -> None:
    """Do `work(first, stop)` on parts of range(n), one for each worker."""
    if pool is None or workers == 1:
        work(0, n)
        return
    edges = [n * part // workers for part in range(workers + 1)]
    list(pool.map(work, edges[:-1], edges[1:]))


def _read_only(array: np.ndarray, dtype: npt.DTypeLike) -> np.ndarray:
    """Return a read-only C-order view, so that the loops are compiled for one kind of array."""
    return read_only(np.ascontiguousarray(array, dtype=dtype))
