"""Sorting: by the bytes of numbers, lowest first, which takes time in proportion to how many there are."""

from __future__ import annotations

import numpy as np

from indexes.compilation import inner_kernel
from indexes.kernels.views import Array
from indexes.packing_kernels import whole

FEW = 48
"""So many are sorted faster by inserting one after the other."""


@inner_kernel
def sort_by(keys: Array, order: Array, scratch: Array, first_byte: int) -> None:
    """Sort `order`, (n,) int64, places in `keys`, in ascending order of the keys; equal keys stay in their order.

    A radix sort, one byte at a time (Knuth, "The art of computer programming", volume 3, section 5.2.5).

    Args:
        keys: (m,) uint64. Floating-point numbers that are not negative are ordered as their bits are.
        order: (n,) int64, input and output.
        scratch: (n,) int64.
        first_byte: bytes of the keys that are not looked at, the lowest ones.
    """
    n, ignored = len(order), np.uint64(8 * first_byte)
    if n <= FEW:
        for last in range(1, n):
            place, hole = order[last], last
            while hole > 0 and keys[order[hole - 1]] >> ignored > keys[place] >> ignored:
                order[hole] = order[hole - 1]
                hole -= 1
            order[hole] = place
        return
    counts = np.zeros((8, 256), np.int64)
    for number in range(n):
        word = keys[order[number]]
        for byte in range(first_byte, 8):
            counts[byte, whole((word >> np.uint64(8 * byte)) & np.uint64(255))] += 1
    source, target, swapped = order, scratch, False
    for byte in range(first_byte, 8):
        shift, starts = np.uint64(8 * byte), counts[byte]
        if starts[whole((keys[source[0]] >> shift) & np.uint64(255))] == n:  # all alike
            continue
        total = 0
        for digit in range(256):
            total, starts[digit] = total + starts[digit], total
        for number in range(n):
            place = source[number]
            digit = whole((keys[place] >> shift) & np.uint64(255))
            target[starts[digit]] = place
            starts[digit] += 1
        source, target, swapped = target, source, not swapped
    if swapped:
        for number in range(n):  # an assignment to order[:] would have numba compile an error message
            order[number] = source[number]


@inner_kernel
def sort_by_points(points: Array, order: Array, scratch: Array) -> None:
    """Sort `order`, (n,) int64, places in `points`, (m,) uint16, as `sort_by` does."""
    n = len(order)
    counts = np.zeros((2, 256), np.int64)
    for number in range(n):
        point = whole(points[order[number]])
        counts[0, point & 255] += 1
        counts[1, point >> 8] += 1
    for byte in range(2):
        shift, starts = 8 * byte, counts[byte]
        if n == 0 or starts[(whole(points[order[0]]) >> shift) & 255] == n:  # all alike
            continue
        total = 0
        for digit in range(256):
            total, starts[digit] = total + starts[digit], total
        for number in range(n):
            place = order[number]
            digit = (whole(points[place]) >> shift) & 255
            scratch[starts[digit]] = place
            starts[digit] += 1
        for number in range(n):
            order[number] = scratch[number]


@inner_kernel
def sort_by_two(keys: Array, others: Array, order: Array, scratch: Array) -> None:
    """Sort as `sort_by` does, equal keys by `others`, (m,) uint64.

    The upper halves of the keys are sorted first; then most keys stand where they belong.
    """
    sort_by(keys, order, scratch, 4)
    first, half = 0, np.uint64(32)
    while first < len(order):
        last = first + 1
        while last < len(order) and keys[order[last]] >> half == keys[order[first]] >> half:
            last += 1
        if last > first + 1:
            sort_by(others, order[first:last], scratch[first:last], 0)
            sort_by(keys, order[first:last], scratch[first:last], 0)
        first = last
