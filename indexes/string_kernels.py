"""The loops that read many short strings at once, compiled by numba. Import inside functions only: this loads numba.

Making a Python string of each place in a file costs a slice and a decoder for each. Here their bytes are written one
after the other, parted by a byte that none of them holds: one decoding and one `split` then make all of them.
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
def join(content: Array, begins: Array, ends: Array, separator: int, joined: Array) -> bool:
    """Write the strings content[begins[i]:ends[i]] to `joined`, each followed by the separator.

    Args:
        content: (n_bytes,) uint8.
        begins: (n,) int64, checked by `total_length`.
        ends: (n,) int64, likewise.
        separator: a byte.
        joined: (total_length + n,) uint8, written.

    Returns:
        Whether no string holds the separator, so that it parts them.
    """
    parted = True
    target = 0
    for number in range(len(begins)):
        for position in range(begins[number], ends[number]):
            byte = content[position]
            parted &= byte != separator
            joined[target] = byte
            target += 1
        joined[target] = separator
        target += 1
    return parted
