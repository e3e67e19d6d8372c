"""From the sums of a window to the documents that may be among the best."""

from __future__ import annotations

import numpy as np

from indexes.compilation import inner_kernel
from indexes.kernels.settling import make_room
from indexes.kernels.views import CLOSE, KNOWN, LARGEST_SUM, LIMIT, WAITING, WINDOW, Array, Search
from indexes.kernels.waiting import wait
from indexes.packing_kernels import whole

STRIDE = 256
"""Points that are compared with the threshold at a time, by vector instructions."""

COUNTED = WINDOW // 8
"""Points that are counted at a time: a number of 16 bits must hold how many they are."""


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
def _positions(flags: Array, words: Array, found: Array) -> int:
    """Write to `found`, (STRIDE,) int64, which flags are set; return how many.

    Without branches that depend on the flags, which nobody could foresee: all is written, and kept where it counts.

    Args:
        flags: (STRIDE,) bool.
        words: the same memory, eight flags a word.
        found: output.
    """
    n_words = n_found = 0
    places = np.empty(STRIDE // 8, np.int64)
    for word in range(STRIDE // 8):
        places[n_words] = 8 * word
        n_words += words[word] != 0
    for number in range(n_words):
        first = places[number]
        for local in range(first, first + 8):
            found[n_found] = local
            n_found += flags[local]
    return n_found


@inner_kernel
def count_above(sums: Array, width: int, threshold: int) -> int:
    """Return how many of a window's sums are above the threshold."""
    limit, total = np.uint16(threshold), 0
    for first in range(0, width, COUNTED):
        part = sums[first : first + COUNTED]
        count = np.uint16(0)
        for local in range(COUNTED):  # a constant length, all 16 bits wide
            count += np.uint16(part[local] > limit)
        total += whole(count)
    return total


@inner_kernel
def collect(search: Search, base: int, width: int, missing: int, score: float) -> bool:
    """Let the window's documents wait that have enough points, or could have with more; False for damage.

    Args:
        search: the search.
        base: first document of the window.
        width: how many documents it has.
        missing: points that any document could get from lists that were not read.
        score: `CLOSE` or `LOOSE`, for what points with the missing ones tell of a score; 0 where they are the score.
    """
    waiting, state, sums, allowed = search.waiting, search.waiting.state, search.sums, search.segment.allowed
    segments, rows, bounds, scores = waiting.segments, waiting.rows, waiting.points, waiting.scores
    number, scale, last = search.number, search.points.scale, base + width
    room, flags = len(waiting.rows), np.empty(STRIDE, np.bool_)
    words, found = flags.view(np.uint64), np.empty(STRIDE, np.int64)
    for stride in range(0, width, STRIDE):
        limit = max(state[LIMIT] - missing, 0)
        if not _any_above(sums, stride, limit):
            continue
        _flag_above(sums, stride, limit, flags)
        n_found = _positions(flags, words, found)
        if state[WAITING] + n_found > room and not make_room(search, base + stride):
            return False
        for place in range(n_found):
            points, row = whole(sums[stride + found[place]]), base + stride + found[place]
            if row < last and points > state[LIMIT] - missing and (len(allowed) == 0 or allowed[row]):
                points = min(points + missing, LARGEST_SUM)
                known = score if score < 0 else points / scale
                wait(segments, rows, bounds, scores, state, number, row, points, known)
    return True


@inner_kernel
def collect_listed(search: Search, base: int, width: int, begins: Array, ends: Array) -> None:
    """Do what `collect` does by reading the window's postings again, for which there must be room to wait.

    Clears the sums.
    """
    waiting, state, sums, allowed = search.waiting, search.waiting.state, search.sums, search.segment.allowed
    segments, rows, bounds, scores = waiting.segments, waiting.rows, waiting.points, waiting.scores
    number, scale, listed = search.number, search.points.scale, search.segment.postings.rows
    for place in range(len(begins)):
        for position in range(begins[place], ends[place]):
            local = whole(listed[position])
            points, row = whole(sums[local]), base + local
            sums[local] = 0
            if points > state[LIMIT] and local < width and (len(allowed) == 0 or allowed[row]):
                known = points / scale if state[KNOWN] else CLOSE
                wait(segments, rows, bounds, scores, state, number, row, points, known)
