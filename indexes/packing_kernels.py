"""The loops that pack documents' lists into bytes and read them again, compiled by numba. Import inside functions only.

A packed list is a sequence of numbers of 7 bits a byte, lowest first, all bytes but a number's last with the highest
bit set (the variable-byte code; Zobel & Moffat, "Inverted files for text search engines", 2006, section 8). For each
member in ascending order it holds the number 2 * (member - previous member - 1), and one more where the frequency is
not 1; then the frequency minus 2 follows.

What is read from files is checked before it is used as a position: a kernel reports damage instead of touching memory
that is not its own.
"""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

from typing import Any

import numpy as np

from indexes.compilation import inner_kernel, kernel

Array = np.ndarray

DAMAGED = -1

LONGEST_SHIFT = 35
"""Of a number's last byte: numbers have at most 5 bytes, for they are below 2^33, and one of more than 6 is damage."""

LARGEST_FREQUENCY = (1 << 32) - 1
"""What an output of 32 bits holds; a larger one is damage."""


@inner_kernel
def whole(number: Any) -> int:
    """Return a number as an integer of 64 bits, cut towards zero: numba adds small integers as what they are."""
    result: Any = np.int64(number)
    return result


@inner_kernel
def encode_number(number: int, content: Array, position: int) -> int:
    """Write a number of at least 0 and return where the next one goes."""
    while number >= 128:
        content[position] = (number & 127) | 128
        number >>= 7
        position += 1
    content[position] = number
    return position + 1


@inner_kernel
def decode_number(content: Array, position: int, end: int) -> tuple[int, int]:
    """Read a number and return it and where the next one begins; (0, -1) where the bytes end within it."""
    number = shift = whole(0)
    while position < end and shift <= LONGEST_SHIFT:
        byte = whole(content[position])
        position += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, position
        shift += 7
    return whole(0), whole(DAMAGED)


@inner_kernel
def _size(number: int) -> int:
    size = 1
    while number >= 128:
        number >>= 7
        size += 1
    return size


@kernel
def packed_sizes(offsets: Array, members: Array, frequencies: Array, sizes: Array) -> None:
    """Write to `sizes`, (n_lists,) int64, how many bytes each list takes; arguments as for `pack`."""
    for number in range(len(sizes)):
        previous = whole(-1)
        total = 0
        for position in range(offsets[number], offsets[number + 1]):
            member = whole(members[position])
            frequency = whole(frequencies[position])
            total += _size((member - previous - 1) << 1)
            if frequency != 1:
                total += _size(frequency - 2)
            previous = member
        sizes[number] = total


@kernel
def pack(offsets: Array, members: Array, frequencies: Array, content: Array) -> None:
    """Pack lists, one after the other.

    Args:
        offsets: (n_lists + 1,) int64, where each list begins in the two arrays.
        members: (n_pairs,) int32, ascending in each list, at least 0.
        frequencies: (n_pairs,) uint32, at least 1.
        content: uint8, of the size that `packed_sizes` adds up to, output.
    """
    target = whole(0)
    for number in range(len(offsets) - 1):
        previous = whole(-1)
        for position in range(offsets[number], offsets[number + 1]):
            member = whole(members[position])
            frequency = whole(frequencies[position])
            gap = (member - previous - 1) << 1
            if frequency == 1:
                target = encode_number(gap, content, target)
            else:
                target = encode_number(gap | 1, content, target)
                target = encode_number(frequency - 2, content, target)
            previous = member


@inner_kernel
def decode_pair(content: Array, position: int, end: int, previous: int) -> tuple[int, int, int]:
    """Read the next member and its frequency; return both and where the next one begins, -1 where it is damaged."""
    gap, position = decode_number(content, position, end)
    if position < 0:
        return whole(0), whole(0), whole(DAMAGED)
    member = previous + 1 + (gap >> 1)
    frequency = whole(1)
    if gap & 1:
        frequency, position = decode_number(content, position, end)
        frequency += 2
    return member, frequency, position


@kernel
def count_pairs(offsets: Array, content: Array, rows: Array, counts: Array) -> bool:
    """Write to `counts`, (n,) int64, how many pairs the list of each of `rows` has; False where one is damaged."""
    for number in range(len(rows)):
        begin, end = offsets[rows[number]], offsets[rows[number] + 1]
        if begin < 0 or end < begin or end > len(content):
            return False
        pairs = 0
        previous = whole(-1)
        while begin < end:
            previous, _, begin = decode_pair(content, begin, end, previous)
            if begin < 0:
                return False
            pairs += 1
        counts[number] = pairs
    return True


@kernel
def unpack(
    offsets: Array, content: Array, rows: Array, renumbered: Array, targets: Array, sizes: Array,
    members: Array, frequencies: Array,
) -> bool:  # fmt: skip
    """Write the pairs of each of the lists `rows` to where `targets` says.

    Args:
        offsets: (n_lists + 1,) int64, where each list's bytes begin.
        content: uint8.
        rows: (n,) int64, lists to read; must exist.
        renumbered: (n_members,) int32, what is written for each member; none may be below 0.
        targets: (n,) int64, where the pairs of each go; must fit into the output.
        sizes: (n,) int64, how many pairs each has.
        members: int32, output.
        frequencies: uint32, output.

    Returns:
        Whether all lists were in order and had as many pairs as expected.
    """
    for number in range(len(rows)):
        begin, end = offsets[rows[number]], offsets[rows[number] + 1]
        target, last = targets[number], targets[number] + sizes[number]
        if begin < 0 or end < begin or end > len(content):
            return False
        member = whole(-1)
        while begin < end:
            member, frequency, begin = decode_pair(content, begin, end, member)
            if begin < 0 or member >= len(renumbered) or target >= last or frequency > LARGEST_FREQUENCY:
                return False
            if renumbered[member] < 0:
                return False
            members[target] = renumbered[member]
            frequencies[target] = frequency
            target += 1
        if target != last:
            return False
    return True


@kernel
def count_members(offsets: Array, content: Array, rows: Array, counts: Array) -> bool:
    """Add one to `counts[member]` for each member of each of the lists `rows`; False where a list is damaged."""
    for row in rows:
        begin, end = offsets[row], offsets[row + 1]
        if begin < 0 or end < begin or end > len(content):
            return False
        member = whole(-1)
        while begin < end:
            member, _, begin = decode_pair(content, begin, end, member)
            if begin < 0 or member >= len(counts):
                return False
            counts[member] += 1
    return True


@kernel
def count_chunks(starts: Array, rows: Array, window_bits: int, counts: Array) -> None:
    """Write to `counts`, (n_lists,) int64, in how many windows each list has postings; arguments as for `chunk`."""
    for number in range(len(counts)):
        chunks = 0
        window = whole(-1)
        for position in range(starts[number], starts[number + 1]):
            here = whole(rows[position]) >> window_bits
            chunks += here != window
            window = here
        counts[number] = chunks


@kernel
def chunk(
    starts: Array, rows: Array, values: Array, window_bits: int,
    chunk_windows: Array, chunk_sizes: Array, chunk_bounds: Array, local_rows: Array,
) -> None:  # fmt: skip
    """Cut lists where windows of 2^window_bits documents begin.

    Args:
        starts: (n_lists + 1,) int64, where each list begins.
        rows: (n_postings,) int32, ascending in each list.
        values: (n_postings,) uint8; empty where postings have none.
        window_bits: 16.
        chunk_windows: (n_chunks,) uint16, output: number of the window of each chunk.
        chunk_sizes: (n_chunks,) uint16, output: its postings, minus 1.
        chunk_bounds: (n_chunks,) uint8, output: its largest value; 1 where postings have none.
        local_rows: (n_postings,) uint16, output: rows minus the first of the window.
    """
    chunk_number = 0
    for number in range(len(starts) - 1):
        begin = starts[number]
        while begin < starts[number + 1]:
            window = whole(rows[begin]) >> window_bits
            end = begin
            bound = np.uint8(0) if len(values) else np.uint8(1)
            while end < starts[number + 1] and whole(rows[end]) >> window_bits == window:
                local_rows[end] = whole(rows[end]) - (window << window_bits)
                if len(values):
                    bound = max(bound, values[end])
                end += 1
            chunk_windows[chunk_number] = window
            chunk_sizes[chunk_number] = end - begin - 1
            chunk_bounds[chunk_number] = bound
            chunk_number += 1
            begin = end


@kernel
def unchunk(
    chunk_windows: Array, chunk_sizes: Array, local_rows: Array, begin: int, window_bits: int, rows: Array
) -> bool:
    """Write the rows of one list, int32: of the given chunks, whose postings begin at `begin`; False for damage."""
    written = 0
    for number in range(len(chunk_windows)):
        base = whole(chunk_windows[number]) << window_bits
        for _ in range(whole(chunk_sizes[number]) + 1):
            if written >= len(rows):
                return False
            rows[written] = base + whole(local_rows[begin + written])
            written += 1
    return written == len(rows)


@kernel
def classify(frequencies: Array, rows: Array, length_bins: Array, codes: Array, values: Array) -> None:
    """Write to `values` the class of each posting.

    Args:
        frequencies: (n_postings,) uint32.
        rows: (n_postings,) int32.
        length_bins: (n_documents,) int32, which bin a document's length lies in.
        codes: (n_frequency_bins, n_length_bins) uint8, class of each pair of bins.
        values: (n_postings,) uint8, output.
    """
    for position in range(len(rows)):
        values[position] = codes[_frequency_bin(frequencies[position]), length_bins[rows[position]]]


@inner_kernel
def _frequency_bin(frequency: int) -> int:
    """Return the bin of a frequency: itself below 128, then 64 bins between powers of two."""
    mantissa, shift = whole(frequency), 0
    while mantissa >= 128:
        mantissa >>= 1
        shift += 1
    return mantissa + (shift << 6)


@kernel
def count_pairs_of_bins(offsets: Array, frequencies: Array, length_bins: Array, counts: Array) -> None:
    """Add to `counts`, (n_frequency_bins, n_length_bins) int64, how often frequencies and lengths go together."""
    for row in range(len(offsets) - 1):
        for position in range(offsets[row], offsets[row + 1]):
            counts[_frequency_bin(frequencies[position]), length_bins[row]] += 1
