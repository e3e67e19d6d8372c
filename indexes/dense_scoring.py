"""The one scoring function of dense search, and the heaps of what it scored; read top to bottom.

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

from indexes.compilation import kernel

# The fixed order: so many running sums, then a tree over them. A constant, so that the compiler uses wide registers.
LANES = 32


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


@kernel
def _inner_product(vector: np.ndarray, query: np.ndarray, lanes: np.ndarray) -> float:
    """Return the inner product of two float32 vectors; `lanes` is scratch memory, (LANES,) float64."""
    d = len(query)
    whole = d - d % LANES
    lanes[:] = 0.0
    for i in range(0, whole, LANES):
        for lane in range(LANES):
            lanes[lane] += np.float64(vector[i + lane]) * np.float64(query[i + lane])
    for i in range(whole, d):
        lanes[i - whole] += np.float64(vector[i]) * np.float64(query[i])
    width = LANES // 2
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
    lanes = np.empty(LANES, np.float64)
    previous = -1
    for position in positions:
        row = passages.rows[position]
        if row != previous and (len(passages.allowed) == 0 or passages.allowed[row]):
            score = _score_document(passages, position, vector, lanes)
            _offer(best, query, score, passages.sequences[row], passages.first_place[0] + row)
        previous = row


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
    lanes = np.empty(LANES, np.float64)
    scores = np.empty(len(positions), np.float64)
    for i, position in enumerate(positions):
        scores[i] = _inner_product(vectors[position], query, lanes)
    return scores
