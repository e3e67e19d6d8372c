"""A binary heap of documents with the worst at its root, which is the one that a better document replaces."""

from __future__ import annotations

from indexes.compilation import inner_kernel
from indexes.kernels.views import Array


@inner_kernel
def _is_worse(score: float, row: int, other_score: float, other_row: int) -> bool:
    """Tell whether a document comes after another: lower score, or an equal one in a later row."""
    return score < other_score or (score == other_score and row > other_row)


@inner_kernel
def _sink(scores: Array, rows: Array, size: int, score: float, row: int) -> None:
    """Replace the root and let the new entry sink to its place."""
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and _is_worse(scores[child + 1], rows[child + 1], scores[child], rows[child]):
            child += 1
        if not _is_worse(scores[child], rows[child], score, row):
            break
        scores[hole], rows[hole] = scores[child], rows[child]
        hole = child
    scores[hole], rows[hole] = score, row


@inner_kernel
def offer(scores: Array, rows: Array, size: int, score: float, row: int) -> int:
    """Keep a document if it is among the best len(scores); return how many are kept."""
    if size == len(scores):
        if _is_worse(scores[0], rows[0], score, row):
            _sink(scores, rows, size, score, row)
        return size
    hole = size
    while hole > 0:
        parent = (hole - 1) // 2
        if not _is_worse(score, row, scores[parent], rows[parent]):
            break
        scores[hole], rows[hole] = scores[parent], rows[parent]
        hole = parent
    scores[hole], rows[hole] = score, row
    return size + 1


@inner_kernel
def sort_best(scores: Array, rows: Array, size: int) -> None:
    """Order a heap best first: the worst of those that remain goes to the end, again and again."""
    for last in range(size - 1, 0, -1):
        score, row = scores[last], rows[last]
        scores[last], rows[last] = scores[0], rows[0]
        _sink(scores, rows, last, score, row)
