"""The loops that search the inverted index, compiled by numba. Import inside functions only: this loads numba.

Read top to bottom: a heap of the best documents so far, then term-at-a-time scoring in windows of documents. What is
read from files is checked before it is used as a position: a kernel returns False, or a negative number, instead of
touching memory that is not its own, whatever a file holds.
"""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

import numpy as np

from indexes.compilation import kernel

Array = np.ndarray

WINDOW = 1 << 15
"""Documents scored at a time: their 256 KiB of sums stay in the processor's second-level cache."""

STRIDE = 64
"""Sums that are compared with the floor at a time, by vector instructions."""

SPARSE_SHARE = 8
"""A window is sparse when it has less than one posting for this many documents."""


# --- The best k so far ------------------------------------------------------------------------------------------------
# A binary heap with the worst entry at its root, which is the one that a better document replaces.


@kernel
def _is_worse(score: float, row: int, other_score: float, other_row: int) -> bool:
    """Tell whether a document comes after another: lower score, or an equal one in a later row."""
    return score < other_score or (score == other_score and row > other_row)


@kernel
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


@kernel
def _offer(scores: Array, rows: Array, size: int, score: float, row: int) -> int:
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


@kernel
def _sort(scores: Array, rows: Array, size: int) -> None:
    """Order a heap best first: the worst of those that remain goes to the end, again and again."""
    for last in range(size - 1, 0, -1):
        score, row = scores[last], rows[last]
        scores[last], rows[last] = scores[0], rows[0]
        _sink(scores, rows, last, score, row)


# --- Windows of documents ---------------------------------------------------------------------------------------------
# Term at a time, window by window (the way of Lucene's BooleanScorer): all lists are read as far as the window goes,
# each adding its part to the sums of the window's documents. A document's sum thus grows in the order of the lists,
# which is the order of the terms, and does not depend on the window, on the segment, nor on other documents.


@kernel
def _accumulate(
    rows: Array, frequencies: Array, norms: Array, base: int, position: int, end: int, weight: float, sums: Array
) -> int:
    """Add one term's scores to the sums of the documents base, base + 1, ...; return where its list goes on.

    The term adds weight * tf / (tf + norm) (BM25's saturation of the term frequency; see `indexes.bm25`).
    """
    width = np.uint64(len(norms))
    first = np.uint64(base)
    while position < end:
        # Unsigned, so that a row before the window is as far out of it as one behind: one comparison guards both.
        local = np.uint64(rows[position]) - first
        if local >= width:
            break
        frequency = float(frequencies[position])
        sums[local] += weight * (frequency / (frequency + norms[local]))
        position += 1
    return position


@kernel
def _collect(sums: Array, base: int, allowed: Array, floor: float, scores: Array, kept: Array, size: int) -> int:
    """Offer the window's documents to the heap and clear their sums; return the heap's size.

    Few documents reach the floor once the heap is full, so whole strides are passed over: counting comparisons without
    a branch is what vector instructions do.
    """
    for first in range(0, len(sums), STRIDE):
        stride = sums[first : first + STRIDE]
        promising = 0
        for local in range(len(stride)):
            promising += stride[local] >= floor
        if promising > 0:
            for local in range(len(stride)):
                row = base + first + local
                if stride[local] >= floor and (len(allowed) == 0 or allowed[row]):
                    size = _offer(scores, kept, size, stride[local], row)
                    if size == len(scores):
                        floor = max(floor, scores[0])
    sums[:] = 0.0
    return size


@kernel
def _collect_listed(
    sums: Array,
    base: int,
    rows: Array,
    begins: Array,
    ends: Array,
    allowed: Array,
    floor: float,
    scores: Array,
    kept: Array,
    size: int,
) -> int:
    """Do what `_collect` does by reading the window's postings again, which are few: rows[begins[i]:ends[i]]."""
    for number in range(len(begins)):
        for position in range(begins[number], ends[number]):
            row = rows[position]
            score = sums[row - base]
            sums[row - base] = 0.0
            if score >= floor and (len(allowed) == 0 or allowed[row]):
                size = _offer(scores, kept, size, score, row)
                if size == len(scores):
                    floor = max(floor, scores[0])
    return size


@kernel
def _search_one(
    begins: Array,
    cursors: Array,
    ends: Array,
    weights: Array,
    rows: Array,
    frequencies: Array,
    norms: Array,
    allowed: Array,
    floor: float,
    sums: Array,
    scores: Array,
    kept: Array,
) -> int:
    """Find one query's best documents, best first; return how many, or -1 where a list is not what it should be."""
    size = 0
    for base in range(0, len(norms), WINDOW):
        window_norms = norms[base : base + WINDOW]
        postings = 0
        for number in range(len(weights)):
            begins[number] = cursors[number]
            cursors[number] = _accumulate(
                rows, frequencies, window_norms, base, begins[number], ends[number], weights[number], sums
            )
            postings += cursors[number] - begins[number]
        if postings == 0:
            continue
        if size == len(scores):
            floor = max(floor, scores[0])
        if postings * SPARSE_SHARE < len(window_norms):
            size = _collect_listed(sums, base, rows, begins, cursors, allowed, floor, scores, kept, size)
        else:
            size = _collect(sums[: len(window_norms)], base, allowed, floor, scores, kept, size)
    for number in range(len(weights)):
        if cursors[number] < ends[number]:  # a row outside the index, or before its predecessor, stopped the list
            return -1
    _sort(scores, kept, size)
    return size


@kernel
def search(
    bounds: Array,
    starts: Array,
    ends: Array,
    weights: Array,
    rows: Array,
    frequencies: Array,
    norms: Array,
    allowed: Array,
    floors: Array,
    scores: Array,
    kept: Array,
    counts: Array,
) -> bool:
    """Find the best documents of one segment for several queries.

    Args:
        bounds: (n_queries + 1,) int64; query q has the lists bounds[q]:bounds[q + 1], in the order of their terms.
        starts: (n_lists,) int64, first posting of each list; must lie inside `rows`.
        ends: (n_lists,) int64, one past the last; must lie inside `rows`.
        weights: (n_lists,) float64, what a list's saturated term frequencies are multiplied with.
        rows: (n_postings,) int32, documents, ascending in each list.
        frequencies: (n_postings,) uint32.
        norms: (n_documents,) float64, what is added to a document's term frequencies below the fraction.
        allowed: (n_documents,) bool, which may be returned; empty allows all.
        floors: (n_queries,) float64, positive; documents below it are not needed.
        scores: (n_queries, k) float64, output.
        kept: (n_queries, k) int64, rows, output.
        counts: (n_queries,) int64, how many were found, output.

    Returns:
        Whether all lists were in order.
    """
    sums = np.zeros(min(WINDOW, len(norms)))
    cursors, begins = starts.copy(), starts.copy()
    for query in range(len(counts)):
        lists = slice(bounds[query], bounds[query + 1])
        counts[query] = _search_one(
            begins[lists], cursors[lists], ends[lists], weights[lists], rows, frequencies, norms, allowed,
            floors[query], sums, scores[query], kept[query],
        )  # fmt: skip
        if counts[query] < 0:
            return False
    return True
