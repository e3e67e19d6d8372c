"""The one scoring function of dense search, and the loops around it; read top to bottom.

A document's score is the largest inner product of its passages with the query. Whatever finds a document (a full scan,
a graph, quantised codes), its score is computed here, so every searcher returns the very same number for it. The
products of two float32 numbers are exact in float64, and their sum runs in one fixed order; the score therefore depends
on the two vectors alone: not on positions, batches, threads or the machine's fused multiply-add. Equal vectors tie
exactly. The best documents of a query are kept in a heap with the worst at its root, by (score, sequence number).

Import this module inside functions only: it loads numba.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from indexes.compilation import kernel

# The fixed order: so many running sums, then a tree over them. A constant, so that the compiler uses wide registers.
_LANES = 32
# So many approximate scores are looked at together before any of them is looked at alone.
_STRIDE = 32


class Best(NamedTuple):
    """The best k documents so far of each query in a batch, as heaps: entry 0 is the worst that is kept.

    Attributes:
        scores: (n_queries, k) float64.
        sequences: (n_queries, k) int64.
        places: (n_queries, k) int64, segment * 2**32 + row.
        sizes: (n_queries,) int64, how many entries are filled.
    """

    scores: np.ndarray
    sequences: np.ndarray
    places: np.ndarray
    sizes: np.ndarray


class Passages(NamedTuple):
    """One segment as the loops see it; every array read-only.

    Attributes:
        vectors: (n_passages, d) float32.
        rows: (n_passages,) int32, document of each passage, non-decreasing.
        allowed: (n_documents,) bool, which documents may be returned; of length 0 when all may.
        sequences: (n_documents,) int64.
        first_place: (1,) int64, segment * 2**32.
    """

    vectors: np.ndarray
    rows: np.ndarray
    allowed: np.ndarray
    sequences: np.ndarray
    first_place: np.ndarray


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


@kernel
def _inner_product(vector: np.ndarray, query: np.ndarray, lanes: np.ndarray) -> float:
    """Return the inner product of two float32 vectors; `lanes` is scratch memory, (_LANES,) float64."""
    d = len(query)
    whole = d - d % _LANES
    lanes[:] = 0.0
    for i in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane] += np.float64(vector[i + lane]) * np.float64(query[i + lane])
    for i in range(whole, d):
        lanes[i - whole] += np.float64(vector[i]) * np.float64(query[i])
    width = _LANES // 2
    while width > 0:
        for lane in range(width):
            lanes[lane] += lanes[lane + width]
        width //= 2
    return lanes[0]


@kernel
def _score_document(passages: Passages, position: int, query: np.ndarray, lanes: np.ndarray) -> float:
    """Return the best inner product over all passages of the document that the passage at `position` belongs to."""
    vectors, rows = passages.vectors, passages.rows
    row = rows[position]
    first = position
    while first > 0 and rows[first - 1] == row:
        first -= 1
    score = _inner_product(vectors[first], query, lanes)
    i = first + 1
    while i < len(rows) and rows[i] == row:
        score = max(score, _inner_product(vectors[i], query, lanes))
        i += 1
    return score


@kernel
def _worse(score: float, sequence: int, other_score: float, other_sequence: int) -> bool:
    return score < other_score or (score == other_score and sequence > other_sequence)


@kernel
def _move(best: Best, query: int, source: int, target: int) -> None:
    best.scores[query, target] = best.scores[query, source]
    best.sequences[query, target] = best.sequences[query, source]
    best.places[query, target] = best.places[query, source]


@kernel
def _rise(best: Best, query: int, score: float, sequence: int) -> int:
    """Make room in a heap that is not full: return the entry where the new document belongs."""
    hole = best.sizes[query]
    best.sizes[query] += 1
    while hole > 0:
        parent = (hole - 1) // 2
        if not _worse(score, sequence, best.scores[query, parent], best.sequences[query, parent]):
            break
        _move(best, query, parent, hole)
        hole = parent
    return hole


@kernel
def _sink(best: Best, query: int, score: float, sequence: int) -> int:
    """Drop the worst document of a full heap: return the entry where the new one belongs."""
    scores, sequences = best.scores[query], best.sequences[query]
    hole = 0
    while 2 * hole + 1 < len(scores):
        child = 2 * hole + 1
        other = child + 1
        if other < len(scores) and _worse(scores[other], sequences[other], scores[child], sequences[child]):
            child = other
        if not _worse(scores[child], sequences[child], score, sequence):
            break
        _move(best, query, child, hole)
        hole = child
    return hole


@kernel
def _offer(best: Best, query: int, score: float, sequence: int, place: int) -> None:
    """Keep a document if it belongs to the query's best k."""
    if best.sizes[query] < best.scores.shape[1]:
        entry = _rise(best, query, score, sequence)
    elif _worse(best.scores[query, 0], best.sequences[query, 0], score, sequence):
        entry = _sink(best, query, score, sequence)
    else:
        return
    best.scores[query, entry] = score
    best.sequences[query, entry] = sequence
    best.places[query, entry] = place


@kernel
def score_positions(positions: np.ndarray, passages: Passages, vector: np.ndarray, best: Best, query: int) -> None:
    """Score the documents of given passages and keep the best.

    Args:
        positions: (m,) int64, ascending; passages of documents that are not allowed are passed over.
        passages: the segment.
        vector: (d,) float32, the query.
        best: heaps of the batch.
        query: the query's number in the batch.
    """
    lanes = np.empty(_LANES, np.float64)
    previous = -1
    for position in positions:
        row = passages.rows[position]
        if row != previous and (len(passages.allowed) == 0 or passages.allowed[row]):
            score = _score_document(passages, position, vector, lanes)
            _offer(best, query, score, passages.sequences[row], passages.first_place[0] + row)
        previous = row


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
def _drop_the_beaten(running: Running, query: int, k: int, error: float) -> None:
    """Raise the bar to where k documents in the running are certain to be better, and drop those below."""
    size, scores, positions = running.sizes[query], running.scores[query], running.positions[query]
    kth = np.float64(np.partition(scores[:size], size - k)[size - k])
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
                            if running.sizes[query] > room - room // 4:
                                _settle(running, query, passages, best, error)
                            size = running.sizes[query]
                        running.scores[query, size] = line[query]
                        running.positions[query, size] = start + i
                        running.sizes[query] = size + 1
                query += 1


@kernel
def score_rows(vectors: np.ndarray, positions: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the exact scores of single passages.

    Args:
        vectors: (n, d) float32.
        positions: (m,) int64.
        query: (d,) float32.

    Returns:
        (m,) float64.
    """
    lanes = np.empty(_LANES, np.float64)
    scores = np.empty(len(positions), np.float64)
    for i, position in enumerate(positions):
        scores[i] = _inner_product(vectors[position], query, lanes)
    return scores
