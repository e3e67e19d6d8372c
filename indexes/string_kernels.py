"""The loops that read many short strings at once, compiled by numba. Import inside functions only: this loads numba.

Making a Python string of each place in a file costs a slice and a decoder for each. Here their bytes are written one
after the other, parted by a byte that they hardly ever hold: one decoding and one `split` then make all of them.
"""

from __future__ import annotations

import numpy as np

from indexes.compilation import kernel

Array = np.ndarray


@kernel
def total_length(begins: Array, ends: Array, limit: int) -> int:
    """Return how many bytes the places begins[i]:ends[i] hold together, -1 if one of them is not within 0:limit."""
    total = 0
    for number in range(len(begins)):
        begin, end = begins[number], ends[number]
        if begin < 0 or end < begin or end > limit:
            return -1
        total += end - begin
    return total


@kernel
def join(content: Array, begins: Array, ends: Array, separator: int, joined: Array) -> None:
    """Write the strings content[begins[i]:ends[i]] to `joined`, each followed by the separator.

    Args:
        content: (n_bytes,) uint8.
        begins: (n,) int64, checked by `total_length`.
        ends: (n,) int64, likewise.
        separator: a byte.
        joined: (total_length + n,) uint8, written.
    """
    # The first bytes first: these reads do not wait for one another, as they would in the loop below, which the
    # processor leaves at another step for each string.
    target = 0
    for number in range(len(begins)):
        if ends[number] > begins[number]:
            joined[target] = content[begins[number]]
        target += ends[number] - begins[number] + 1
    target = 0
    for number in range(len(begins)):
        for position in range(begins[number], ends[number]):
            joined[target] = content[position]
            target += 1
        joined[target] = separator
        target += 1
