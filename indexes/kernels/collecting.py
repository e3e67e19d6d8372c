"""From the sums of a window to the documents that may be among the best."""

from __future__ import annotations

import numpy as np

from indexes.compilation import inner_kernel
from indexes.kernels.best import BATCH, make_room, score_waiting, settle, settle_known
from indexes.kernels.views import KNOWN, LARGEST_SUM, THRESHOLD, WAITING, WINDOW, Array, Search
from indexes.packing_kernels import whole

STRIDE = 256
"""Points that are compared with the threshold at a time, by vector instructions."""


@inner_kernel
def _any_above(sums: Array, first: int, threshold: int) -> bool:
    """Tell whether any of the STRIDE sums from `first` on is above the threshold."""
    stride = sums[first : first + STRIDE]
    limit, found = np.uint16(threshold), np.uint16(0)
    for local in range(STRIDE):  # a constant length, all 16 bits wide: 32 sums an instruction
        found |= np.uint16(stride[local] > limit)
    return whole(found) > 0


@inner_kernel
def _flag_above(sums: Array, first: int, threshold: int, flags: Array) -> None:
    """Write to `flags`, (STRIDE,) bool, which of the sums from `first` on are above the threshold."""
    stride = sums[first : first + STRIDE]
    limit = np.uint16(threshold)
    for local in range(STRIDE):
        flags[local] = stride[local] > limit


@inner_kernel
def count_above(sums: Array, threshold: int) -> int:
    """Return how many of a window's sums are above the threshold."""
    limit, total = np.uint16(threshold), 0
    for first in range(0, WINDOW, WINDOW // 2):
        half = sums[first : first + WINDOW // 2]
        count = np.uint16(0)  # half a window can be counted in 16 bits
        for local in range(WINDOW // 2):
            count += np.uint16(half[local] > limit)
        total += whole(count)
    return total


@inner_kernel
def score_near(search: Search, base: int, width: int, missing: int) -> bool:
    """Score the window's documents that could pass the threshold with `missing` more points; False for damage."""
    best, state, sums, allowed = search.best, search.best.state, search.sums, search.allowed
    if state[KNOWN]:
        settle_known(best, search.points.scale)
    elif not settle(search):
        return False
    flags = np.empty(STRIDE, np.bool_)
    words = flags.view(np.uint64)
    for stride in range(0, width, STRIDE):
        threshold = max(state[THRESHOLD] - missing, 0)
        if not _any_above(sums, stride, threshold):
            continue
        _flag_above(sums, stride, threshold, flags)
        for word in range(len(words)):
            if words[word] == 0:
                continue
            first = stride + 8 * word
            for local in range(first, min(first + 8, width)):
                points = whole(sums[local])
                if points > threshold and (len(allowed) == 0 or allowed[base + local]):
                    best.waiting_rows[state[WAITING]] = base + local
                    best.waiting_points[state[WAITING]] = min(points + missing, LARGEST_SUM)
                    best.waiting_scores[state[WAITING]] = -1.0
                    state[WAITING] += 1
                    if state[WAITING] >= BATCH:
                        state[WAITING] = 0
                        if not score_waiting(search, 0, BATCH):
                            return False
    n_waiting, state[WAITING] = state[WAITING], 0
    return score_waiting(search, 0, n_waiting)


@inner_kernel
def collect(search: Search, base: int, width: int) -> bool:
    """Let the window's documents with enough points wait; False for damage."""
    best, state, sums, allowed = search.best, search.best.state, search.sums, search.allowed
    room = len(best.waiting_rows)
    flags = np.empty(STRIDE, np.bool_)
    words = flags.view(np.uint64)
    for stride in range(0, width, STRIDE):
        if not _any_above(sums, stride, state[THRESHOLD]):
            continue
        _flag_above(sums, stride, state[THRESHOLD], flags)
        for word in range(len(words)):
            if words[word] == 0:  # eight flags at a time
                continue
            first = stride + 8 * word
            for local in range(first, min(first + 8, width)):
                points, row = whole(sums[local]), base + local
                if points <= state[THRESHOLD] or (len(allowed) and not allowed[row]):
                    continue
                if state[WAITING] == room and not make_room(search):
                    return False
                best.waiting_rows[state[WAITING]], best.waiting_points[state[WAITING]] = row, points
                best.waiting_scores[state[WAITING]] = -1.0
                state[WAITING] += 1
    return True


@inner_kernel
def collect_listed(search: Search, base: int, width: int, begins: Array, ends: Array) -> None:
    """Do what `collect` does by reading the window's postings again, for which there must be room to wait.

    Clears the sums.
    """
    best, state, sums, allowed = search.best, search.best.state, search.sums, search.allowed
    for number in range(len(begins)):
        for position in range(begins[number], ends[number]):
            local = whole(search.postings.rows[position])
            points, row = whole(sums[local]), base + local
            sums[local] = 0
            if points <= state[THRESHOLD] or local >= width or (len(allowed) and not allowed[row]):
                continue
            best.waiting_rows[state[WAITING]], best.waiting_points[state[WAITING]] = row, points
            best.waiting_scores[state[WAITING]] = -1.0
            state[WAITING] += 1
