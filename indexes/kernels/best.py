"""The best k documents so far, and those that wait to be scored because they may be among them."""

from __future__ import annotations

import numpy as np

from indexes.compilation import inner_kernel
from indexes.kernels.exact import is_unread, norm_of, score_list
from indexes.kernels.heap import offer
from indexes.kernels.views import (
    FAILED,
    GUESSED,
    HAS_GUESSED,
    HOPED,
    KNOWN,
    MARGIN,
    N_ROOMS,
    N_UNREAD,
    SIZE,
    THRESHOLD,
    WAITING,
    Array,
    Best,
    Search,
)
from indexes.packing_kernels import whole

BATCH = 32
"""Documents whose lists are fetched from memory together, so that the waiting overlaps."""

SAMPLE, SMALL_SAMPLE, SMALL_K = 16384, 8192, 100
"""Documents that the first threshold is guessed from; a smaller sample is enough for a small k."""


@inner_kernel
def _kth_largest(points: Array, k: int) -> int:
    """Return the k-th largest of at least k numbers of 16 bits: by counting their upper bytes, then the lower ones."""
    counts = np.zeros(256, np.int64)
    for number in range(len(points)):
        counts[points[number] >> 8] += 1
    above, upper = 0, 255
    while above + counts[upper] < k:
        above += counts[upper]
        upper -= 1
    counts[:] = 0
    for number in range(len(points)):
        if points[number] >> 8 == upper:
            counts[points[number] & 255] += 1
    lower = 255
    while above + counts[lower] < k:
        above += counts[lower]
        lower -= 1
    return whole((upper << 8) + lower)


@inner_kernel
def _keep(best: Best, score: float, row: int, scale: float) -> None:
    """Offer a document to the best, whose worst score is the threshold when there are k of them."""
    state = best.state
    state[SIZE] = offer(best.scores, best.rows, state[SIZE], score, row)
    if state[SIZE] == len(best.scores):
        state[THRESHOLD] = max(state[THRESHOLD], whole(scale * best.scores[0]) - 1)


@inner_kernel
def _fetch_documents(search: Search, begin: int, end: int) -> int:
    """Ask for the lists of the waiting documents begin, begin + 1, ... end - 1 before they are needed.

    Asking for all before using any lets the processor wait for them at the same time. The sum only keeps the compiler
    from leaving this out.
    """
    rows, documents = search.best.waiting_rows, search.documents
    fetched = whole(0)
    for number in range(begin, end):
        if search.best.waiting_scores[number] >= 0:
            continue
        fetched += documents.offsets[rows[number]]
        if len(search.formula.lengths):
            fetched += search.formula.lengths[rows[number]]
    for number in range(begin, end):
        if search.best.waiting_scores[number] >= 0:
            continue
        place = documents.offsets[rows[number]]
        if 0 <= place < len(documents.content):
            fetched += documents.content[place]
            fetched += documents.content[min(place + 64, len(documents.content) - 1)]
    return fetched


@inner_kernel
def score_waiting(search: Search, first: int, last: int) -> bool:
    """Score the waiting documents first, first + 1, ... last - 1 that still have enough points; False for damage."""
    best, documents, formula, state = search.best, search.documents, search.formula, search.best.state
    fetched = whole(0)
    for begin in range(first, last, BATCH):
        end = min(begin + BATCH, last)
        fetched += _fetch_documents(search, begin, end)
        for number in range(begin, end):
            row = best.waiting_rows[number]
            if whole(best.waiting_points[number]) <= state[THRESHOLD]:
                continue
            if best.waiting_scores[number] >= 0:
                if best.waiting_scores[number] > 0:
                    _keep(best, best.waiting_scores[number], row, search.points.scale)
                continue
            if is_unread(documents, row):
                if state[N_UNREAD] < len(best.unread):
                    best.unread[state[N_UNREAD]] = row
                state[N_UNREAD] += 1
                continue
            first_byte, last_byte = documents.offsets[row], documents.offsets[row + 1]
            if first_byte < 0 or last_byte < first_byte or last_byte > len(documents.content):
                return False
            content = documents.content[first_byte:last_byte]
            score = score_list(search.query.lists, search.query.weights, content, norm_of(formula, row))
            if score < 0:
                return False
            if score > 0:
                _keep(best, score, row, search.points.scale)
    # Always true; keeps the compiler from leaving the fetching out.
    return fetched != whole(-1)


@inner_kernel
def settle(search: Search) -> bool:
    """Score all that wait, those with the most points first: their scores raise the threshold for the others."""
    best, state, k = search.best, search.best.state, len(search.best.scores)
    n_waiting, first = state[WAITING], 0
    state[WAITING] = 0
    if n_waiting > k + k // 8:
        rows, points, scores = best.waiting_rows, best.waiting_points, best.waiting_scores
        middle = _kth_largest(points[:n_waiting], k)
        for number in range(n_waiting):
            if points[number] > middle:
                rows[first], rows[number] = rows[number], rows[first]
                points[first], points[number] = points[number], points[first]
                scores[first], scores[number] = scores[number], scores[first]
                first += 1
        if not score_waiting(search, 0, first):
            return False
    return score_waiting(search, first, n_waiting)


@inner_kernel
def settle_known(best: Best, scale: float) -> None:
    """Do what `settle` does where points are scores."""
    n_waiting, best.state[WAITING] = best.state[WAITING], 0
    for number in range(n_waiting):
        _keep(best, best.waiting_points[number] / scale, best.waiting_rows[number], scale)


@inner_kernel
def keep_known(best: Best) -> None:
    """Keep the best k of the waiting documents, whose points are their scores: of equal ones the earliest rows.

    Documents are met in the order of their rows, so that those to come need more points than the k-th has.
    """
    state, k = best.state, len(best.scores)
    if state[WAITING] < k:
        return
    rows, points = best.waiting_rows[: state[WAITING]], best.waiting_points[: state[WAITING]]
    middle = _kth_largest(points, k)
    better = 0
    for number in range(len(points)):
        better += points[number] > middle
    # Of the tied ones the k - better earliest: a heap with the latest of them at its root.
    room, size = k - better, 0
    heap, earliest = np.empty(room), np.empty(room, np.int64)
    for number in range(len(points)):
        if points[number] == middle:
            size = offer(heap, earliest, size, -float(rows[number]), rows[number])
    last = earliest[0]
    kept = 0
    for number in range(len(points)):
        if points[number] > middle or (points[number] == middle and rows[number] <= last):
            rows[kept], points[kept] = rows[number], points[number]
            kept += 1
    state[WAITING] = kept
    state[THRESHOLD] = max(state[THRESHOLD], middle)


@inner_kernel
def hope(best: Best) -> None:
    """Raise the threshold to what the k-th best points promise, and drop what does not reach it."""
    state, k = best.state, len(best.scores)
    if state[WAITING] < k or state[MARGIN] < 0:
        return
    points = best.waiting_points[: state[WAITING]]
    hoped = _kth_largest(points, k) - state[MARGIN]
    if hoped > state[THRESHOLD]:
        state[THRESHOLD] = state[HOPED] = hoped
    kept = 0
    for number in range(len(points)):
        if whole(points[number]) > state[THRESHOLD]:
            best.waiting_rows[kept], best.waiting_points[kept] = best.waiting_rows[number], points[number]
            best.waiting_scores[kept] = best.waiting_scores[number]
            kept += 1
    state[WAITING] = kept


@inner_kernel
def guess(sums: Array, width: int, n_documents: int, allowed: Array, best: Best) -> None:
    """Raise the threshold from nothing to what the first documents of the segment promise for all.

    If documents come in no order, a sample of m of n documents holds about k * m / n of the best k. The threshold is
    put two standard deviations below the points of that rank, so that more than k documents can be expected above it.
    Where documents are ordered by topic this fails, the search runs a second time, and `Best.luck` sees to it that
    it is not tried often. Documents that may not be returned take their share of the ranks; where they are most,
    nothing is guessed.
    """
    state, k = best.state, len(best.scores)
    sample = min(width, SAMPLE if k > SMALL_K else SMALL_SAMPLE)
    share = 1.0
    if len(allowed):
        n_allowed = 0
        for row in range(sample):
            n_allowed += allowed[row]
        share = n_allowed / sample
    if share < 0.5:
        return
    expected = k * sample / n_documents
    rank = whole((expected + 2 * np.sqrt(expected) + 2) / share)
    if state[MARGIN] < 0 or 2 * rank > sample or best.luck[FAILED] * 8 > best.luck[GUESSED] + 8:
        return
    # Less by what points and scores may differ, so that documents with equal scores are not dropped.
    promised = _kth_largest(sums[:sample], rank) - (1 if state[KNOWN] else state[MARGIN])
    state[THRESHOLD] = state[HOPED] = max(0, promised)
    state[HAS_GUESSED] = 1


@inner_kernel
def make_room(search: Search) -> bool:
    """Drop or score documents that wait, where there is no place for another; False for damage."""
    best, state = search.best, search.best.state
    state[N_ROOMS] += 1
    if state[KNOWN]:
        keep_known(best)
        return True
    hope(best)
    return 4 * state[WAITING] <= 3 * len(best.waiting_rows) or settle(search)
