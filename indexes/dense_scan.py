"""Passing over a segment: approximate scores, and the documents that they leave in the running.

A bar rises for each query while its batch goes through the segment: the approximate score below which no document can
be among the best k, whatever the rounding of the documents seen so far. Documents that reach it are kept, and scored
exactly (`indexes.dense_scoring`) when the segment is done.

Import this module inside functions only: it loads numba.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from indexes.compilation import kernel
from indexes.dense_scoring import Best, Passages, score_positions

_STRIDE = 32
"""So many approximate scores are looked at together before any of them is looked at alone."""


class Running(NamedTuple):
    """The queries of a batch on their way through one segment, and the documents that are still in the running.

    Attributes:
        queries: (n_queries, d) float32, as given, read-only.
        lengths: (n_queries,) float64, their lengths; 1 for a zero query.
        bars: (n_queries,) float32, approximate score below which no document can be among the best k; rises on the way.
        scores: (n_queries, room) float32, approximate scores of documents in the running; room for 2 k at least.
        positions: (n_queries, room) int64, a passage of each, ascending.
        sizes: (n_queries,) int64, how many there are.
    """

    queries: np.ndarray
    lengths: np.ndarray
    bars: np.ndarray
    scores: np.ndarray
    positions: np.ndarray
    sizes: np.ndarray


@njit(nogil=True, fastmath={"reassoc", "contract", "nsz"})
def _approximate(vector: np.ndarray, unit: np.ndarray) -> np.float32:
    """Return a float32 inner product, summed in whatever order is fastest; only `error_bound` is known about it."""
    total = np.float32(0.0)
    for i in range(len(unit)):
        total += vector[i] * unit[i]
    return total


@kernel
def approximate_rows(block: np.ndarray, units: np.ndarray, scores: np.ndarray, first: int, stop: int) -> None:
    """Fill scores[first:stop] with approximate scores; for the few queries where a matrix product waits for memory.

    Args:
        block: (m, d) float32, read-only.
        units: (n_queries, d) float32, read-only.
        scores: (m, n_queries) float32, written to.
        first: first row.
        stop: row behind the last.
    """
    for i in range(first, stop):
        for query in range(len(units)):
            scores[i, query] = _approximate(block[i], units[query])


@kernel
def _any_reaches(line: np.ndarray, bars: np.ndarray, first: int) -> bool:
    found = False
    for query in range(first, first + _STRIDE):
        found |= line[query] >= bars[query]  # no branch: compared in wide registers
    return found


@kernel
def _kth_largest(values: np.ndarray, k: int) -> float:
    """Return the k-th largest value by Hoare's quickselect, which reorders `values`; numpy's compiles for seconds."""
    low, high, wanted = 0, len(values) - 1, len(values) - k
    while low < high:
        pivot = values[(low + high) // 2]
        left, right = low, high
        while left <= right:
            while values[left] < pivot:
                left += 1
            while values[right] > pivot:
                right -= 1
            if left <= right:
                values[left], values[right] = values[right], values[left]
                left += 1
                right -= 1
        if wanted <= right:
            high = right
        elif wanted >= left:
            low = left
        else:
            break
    return values[wanted]


@kernel
def _drop_the_beaten(running: Running, query: int, k: int, error: float) -> None:
    """Raise the bar to where k documents in the running are certain to be better, and drop those below."""
    size, scores, positions = running.sizes[query], running.scores[query], running.positions[query]
    kth = np.float64(_kth_largest(scores[:size].copy(), k))
    running.bars[query] = max(np.float64(running.bars[query]), kth - 2.0 * error)
    kept = 0
    for i in range(size):
        if scores[i] >= running.bars[query]:
            scores[kept], positions[kept] = scores[i], positions[i]
            kept += 1
    running.sizes[query] = kept


@kernel
def _settle(running: Running, query: int, passages: Passages, best: Best, error: float) -> None:
    """Score every document in the running exactly, keep the best and raise the bar to the worst of them."""
    score_positions(running.positions[query, : running.sizes[query]], passages, running.queries[query], best, query)
    running.sizes[query] = 0
    if best.sizes[query] == best.scores.shape[1]:
        bar = best.scores[query, 0] / running.lengths[query] - error
        running.bars[query] = max(np.float64(running.bars[query]), bar)


@kernel
def settle(running: Running, passages: Passages, best: Best, error: float, first: int, stop: int) -> None:  # noqa: PLR0917
    """Finish a segment for the queries [first, stop): score what is left in the running; see `scan_block`."""
    k = best.scores.shape[1]
    for query in range(first, stop):
        if running.sizes[query] > k:
            _drop_the_beaten(running, query, k, error)
        _settle(running, query, passages, best, error)


@kernel
def scan_block(  # noqa: PLR0917 - numba passes arguments by position
    approximate: np.ndarray,
    start: int,
    running: Running,
    passages: Passages,
    best: Best,
    error: float,
    first: int,
    stop: int,
) -> None:
    """Take into the running every document of a block whose approximate score says that it may be among the best k.

    Where there is no room for more, those that k others exceed for certain are dropped; where that leaves too many,
    because they tie, all are scored exactly.

    Args:
        approximate: (m, n_queries) float32, inner products of a block's passages with the queries scaled to length 1.
        start: position of the block's first passage.
        running: the batch.
        passages: the segment.
        best: the batch's heaps.
        error: an approximate score is off by this much at most.
        first: the queries [first, stop) are worked on.
        stop: see first.
    """
    k, room = best.scores.shape[1], running.scores.shape[1]
    for i in range(len(approximate)):
        line = approximate[i]
        row = passages.rows[start + i]
        if len(passages.allowed) > 0 and not passages.allowed[row]:
            continue
        query = first
        while query < stop:
            if query + _STRIDE <= stop and not _any_reaches(line, running.bars, query):
                query += _STRIDE
                continue
            for _ in range(min(_STRIDE, stop - query)):
                if line[query] >= running.bars[query]:
                    size = running.sizes[query]
                    if size > 0 and passages.rows[running.positions[query, size - 1]] == row:
                        running.scores[query, size - 1] = max(running.scores[query, size - 1], line[query])
                    else:
                        if size == room:
                            _drop_the_beaten(running, query, k, error)
                            if running.sizes[query] >= room - room // 4:
                                _settle(running, query, passages, best, error)
                            size = running.sizes[query]
                        running.scores[query, size] = line[query]
                        running.positions[query, size] = start + i
                        running.sizes[query] = size + 1
                query += 1
