"""The documents that wait because they may be among the best k, and the threshold that follows from them."""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

import numpy as np

from indexes.compilation import inner_kernel
from indexes.kernels.segments import sequences_of
from indexes.kernels.sorting import FEW, sort_by_points, sort_by_two
from indexes.kernels.views import (
    CLOSE,
    FAILED,
    GUESSED,
    HAS_GUESSED,
    HOPED,
    KNOWN,
    LARGEST_SUM,
    LIMIT,
    MARGIN,
    THRESHOLD,
    UNSCORED,
    WAITING,
    Array,
    Search,
    Segments,
    Waiting,
)
from indexes.packing_kernels import whole

LATEST = (1 << 63) - 1
"""No sequence number is larger."""

EARLIEST = -(1 << 63)
"""No sequence number is smaller."""

SMALLEST_SAMPLE = 1024
"""Documents, at least, that the first threshold is guessed from."""

SMALL_K = 100
"""Few results are scored soon, and a smaller sample is enough for them."""

N_PARTS = 64
"""Parts of the sample, at equal distances."""


@inner_kernel
def _count(points: Array, shift: int, counts: Array) -> None:
    """Count numbers of 16 bits by a byte of theirs, in (4, 256) int64.

    Four counters for each byte, in turn: most numbers are alike, and an addition to what was just added to must wait.
    """
    step, mask = np.uint16(shift), np.uint16(255)
    first, second, third, fourth = counts[0], counts[1], counts[2], counts[3]
    fours = len(points) // 4 * 4
    for number in range(0, fours, 4):
        first[np.uint64((points[number] >> step) & mask)] += 1
        second[np.uint64((points[number + 1] >> step) & mask)] += 1
        third[np.uint64((points[number + 2] >> step) & mask)] += 1
        fourth[np.uint64((points[number + 3] >> step) & mask)] += 1
    for number in range(fours, len(points)):
        first[np.uint64((points[number] >> step) & mask)] += 1


@inner_kernel
def _byte_of_kth(counts: Array, k: int) -> tuple[int, int]:
    """Return the byte of the k-th largest number, and how many have larger ones."""
    above, byte = 0, 255
    while True:
        held = counts[0, byte] + counts[1, byte] + counts[2, byte] + counts[3, byte]
        if above + held >= k:
            return byte, above
        above += held
        byte -= 1


@inner_kernel
def _kth_of_few(points: Array, k: int) -> int:
    """Return what `kth_largest` returns, by ordering the k largest."""
    largest = np.empty(k, np.int64)
    for number in range(len(points)):
        point, hole = whole(points[number]), min(number, k)
        if hole == k:
            if point <= largest[k - 1]:
                continue
            hole -= 1
        while hole > 0 and largest[hole - 1] < point:
            largest[hole] = largest[hole - 1]
            hole -= 1
        largest[hole] = point
    return largest[k - 1]


@inner_kernel
def kth_largest(points: Array, k: int) -> int:
    """Return the k-th largest of at least k numbers of 16 bits: by counting their upper bytes, then the lower ones."""
    if len(points) <= FEW:
        return _kth_of_few(points, k)
    counts = np.zeros((4, 256), np.int64)
    _count(points, 8, counts)
    upper, above = _byte_of_kth(counts, k)
    counts[:] = 0
    lower = counts[0]
    for number in range(len(points)):
        if whole(points[number]) >> 8 == upper:
            lower[whole(points[number]) & 255] += 1
    return whole((upper << 8) + _byte_of_kth(counts, k - above)[0])


@inner_kernel
def points_of_score(score: float, scale: float, known: int) -> int:
    """Return points that bound a score, as closely as they can: less 2 (where points are scores 1) they are below it.

    A document whose score is 0 holds none of the terms: it gets no points, and is dropped.
    """
    if known or score <= 0:
        return whole(score)
    return whole(min(scale * score, LARGEST_SUM - 1.0)) + 1  # crafted postings may lead to a scale without end


@inner_kernel
def wait(
    segments: Array, rows: Array, bounds: Array, scores: Array, state: Array,
    segment: int, row: int, points: int, score: float,
) -> None:  # fmt: skip
    """Let a document wait, for which there must be room.

    Takes the arrays of `Waiting` one by one: handing over all of it would take longer than this does.
    """
    place = state[WAITING]
    segments[place], rows[place], bounds[place], scores[place] = segment, row, points, score
    state[WAITING] = place + 1
    state[UNSCORED] += score < 0


@inner_kernel
def raise_threshold(waiting: Waiting) -> None:
    """Raise the threshold to what the k-th best promises.

    A document with a score promises it, one without as much as is hoped for: its points less the margin, or nothing.
    """
    state, n = waiting.state, waiting.state[WAITING]
    if n < waiting.k:
        return
    margin = state[MARGIN] if state[MARGIN] >= 0 else LARGEST_SUM
    sure = 1 if state[KNOWN] else 2
    for number in range(n):
        score = waiting.scores[number]
        less = sure if score >= 0 else margin if score == CLOSE else LARGEST_SUM
        waiting.promises[number] = max(whole(waiting.points[number]) - less, 0)
    promised = kth_largest(waiting.promises[:n], waiting.k)
    if promised > state[THRESHOLD]:
        state[THRESHOLD] = state[LIMIT] = promised
        if state[UNSCORED]:
            state[HOPED] = promised


@inner_kernel
def drop(waiting: Waiting) -> None:
    """Drop the documents that do not reach the threshold; the others stay in their order."""
    state = waiting.state
    kept = unscored = 0
    limit = max(state[THRESHOLD], 0)
    for number in range(state[WAITING]):
        if whole(waiting.points[number]) > limit:
            waiting.segments[kept], waiting.rows[kept] = waiting.segments[number], waiting.rows[number]
            waiting.points[kept], waiting.scores[kept] = waiting.points[number], waiting.scores[number]
            kept += 1
            unscored += waiting.scores[number] < 0
    state[WAITING], state[UNSCORED] = kept, unscored


@inner_kernel
def hope(waiting: Waiting) -> None:
    """Raise the threshold and drop what does not reach it."""
    if waiting.state[WAITING] >= waiting.k:
        raise_threshold(waiting)
        drop(waiting)


@inner_kernel
def _come_in_order(waiting: Waiting, segments: Segments) -> bool:
    """Write `keys`, by which equal scores are sorted; tell whether the documents wait in the order of their sequence.

    They do where windows were scanned, and the segments that were searched first hold the first documents.
    """
    current, sequences, before, disorder = -1, sequences_of(segments, 0), EARLIEST, 0
    for number in range(waiting.state[WAITING]):
        if waiting.segments[number] != current:
            current = waiting.segments[number]
            sequences = sequences_of(segments, current)
        sequence = sequences[waiting.rows[number]]
        disorder += sequence < before
        waiting.keys[number] = LATEST - sequence
        before = sequence
    return disorder == 0


@inner_kernel
def best_last(waiting: Waiting, segments: Segments) -> Array:
    """Return the waiting documents, all of which have scores, by (score, sequence descending), (n,) int64."""
    n = waiting.state[WAITING]
    order, scratch = waiting.order[0, :n], waiting.order[1, :n]
    if _come_in_order(waiting, segments) and waiting.state[KNOWN]:
        for number in range(n):
            order[number] = n - 1 - number
        sort_by_points(waiting.points, order, scratch)
        return order
    for number in range(n):
        order[number] = number
    sort_by_two(waiting.scores[:n].view(np.uint64), waiting.keys[:n].view(np.uint64), order, scratch)
    return order


@inner_kernel
def _drop_latest(waiting: Waiting) -> int:
    """Take their points from documents that wait in order and have as many as the k-th best, but come too late.

    Their points are scores. Nothing needs to be sorted; those with fewer points fall below the threshold that follows.

    Returns:
        The last of the best k.
    """
    n, last = waiting.state[WAITING], 0
    points = kth_largest(waiting.points[:n], waiting.k)
    kept = 0
    for number in range(n):
        kept += whole(waiting.points[number]) > points
    for number in range(n):
        if whole(waiting.points[number]) == points:
            if kept < waiting.k:
                kept, last = kept + 1, number
            else:
                waiting.points[number] = 0
    return last


@inner_kernel
def keep_best(search: Search, following: int) -> None:
    """Keep the best k of the waiting documents, all of which have scores.

    Args:
        search: the search.
        following: the next row of the segment. Where points are scores, and the last of the best comes before that
            document, later ones with equal points are not needed.
    """
    waiting, state, k = search.waiting, search.waiting.state, search.waiting.k
    if state[WAITING] <= k:
        return
    if state[KNOWN] and _come_in_order(waiting, search.segments):
        last = _drop_latest(waiting)
    else:
        order = best_last(waiting, search.segments)
        for place in range(len(order) - k):
            waiting.points[order[place]] = 0
        last = order[len(order) - k]
    if state[KNOWN]:
        points, sequences = whole(waiting.points[last]), search.segment.sequences
        earlier = following < len(sequences) and LATEST - waiting.keys[last] < sequences[following]
        drop(waiting)
        raise_threshold(waiting)
        if earlier:
            state[LIMIT] = points
    else:
        drop(waiting)
        raise_threshold(waiting)


@inner_kernel
def guess(search: Search, base: int, width: int) -> None:
    """Raise the threshold from nothing to what some documents of the first window promise for the segment.

    If documents come in no order, a sample of m of n documents holds about k * m / n of the best k. The threshold is
    put two standard deviations below the points of that rank, so that more than k documents can be expected above it.
    Where windows differ in topic this fails, the search runs a second time, and `Waiting.luck` sees to it that
    it is not tried often. Documents that may not be returned take their share of the ranks; where they are most,
    nothing is guessed.
    """
    waiting, state, k = search.waiting, search.waiting.state, search.waiting.k
    if state[MARGIN] < 0 or waiting.luck[FAILED] * 8 > waiting.luck[GUESSED] + 8:
        return
    size = min(width, max(width // (4 if k > SMALL_K else 8), SMALLEST_SAMPLE)) // N_PARTS
    sample, allowed, n_allowed = np.empty(N_PARTS * size, np.uint16), search.segment.allowed, 0
    for part in range(N_PARTS):
        # From everywhere in the window: neighbours are often alike.
        first = part * (width // N_PARTS)
        for number in range(size):
            sample[part * size + number] = search.sums[first + number]
        if len(allowed):
            for row in range(base + first, base + first + size):
                n_allowed += allowed[row]
    share = n_allowed / max(len(sample), 1) if len(allowed) else 1.0
    if share < 0.5:
        return
    expected = k * len(sample) / len(search.segment.sequences)
    rank = whole((expected + 2 * np.sqrt(expected) + 2) / share)
    if 2 * rank > len(sample):
        return
    # Less by what points and scores may differ, so that documents with equal scores are not dropped.
    promised = kth_largest(sample, rank) - (1 if state[KNOWN] else state[MARGIN])
    state[THRESHOLD] = state[LIMIT] = state[HOPED] = max(0, promised)
    state[HAS_GUESSED] = 1
