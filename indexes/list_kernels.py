"""The loops that build and merge the inverted index and look up terms, compiled by numba. Import inside functions only.

What is read from files is checked before it is used as a position: a kernel returns False instead of touching memory
that is not its own. Lists of lists are flat: list i is `values[offsets[i]:offsets[i + 1]]` (see `indexes.lists`).
"""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

import numpy as np

from indexes.compilation import kernel

Array = np.ndarray


@kernel
def find_terms(blob: Array, offsets: Array, wanted: Array, wanted_offsets: Array, found: Array) -> bool:
    """Write to `found` the number of each wanted byte string in a sorted list of byte strings, or -1; binary search."""
    for number in range(len(found)):
        begin, end = wanted_offsets[number], wanted_offsets[number + 1]
        low, high = 0, len(offsets) - 1
        found[number] = -1
        while low < high:
            middle = (low + high) // 2
            first, last = offsets[middle], offsets[middle + 1]
            if first < 0 or last < first or last > len(blob):
                return False
            order = np.int64(0)
            for step in range(min(last - first, end - begin)):
                order = np.int64(blob[first + step]) - np.int64(wanted[begin + step])  # bytes alone would wrap
                if order != 0:
                    break
            if order == 0:
                order = (last - first) - (end - begin)
            if order == 0:
                found[number] = middle
                break
            if order < 0:
                low = middle + 1
            else:
                high = middle
    return True


@kernel
def collapse(
    tokens: Array,
    run_ends: Array,
    run_weights: Array,
    run_counts: Array,
    slots: Array,
    terms: Array,
    frequencies: Array,
    offsets: Array,
    lengths: Array,
) -> int:
    """Turn documents' tokens into (term, frequency) pairs, one for each distinct term, in order of first occurrence.

    A document consists of `run_counts[document]` runs, the tokens of run r ending at `run_ends[r]` and counting
    `run_weights[r]` each. `slots[term]` is where the term was last written: before the document's first pair means that
    the document has not had it yet, so that nothing is reset between documents. Negative tokens are left out.

    Returns:
        The number of pairs.
    """
    position = run = pairs = 0
    for document in range(len(run_counts)):
        begin = pairs
        offsets[document] = begin
        for _ in range(run_counts[document]):
            weight = run_weights[run]
            while position < run_ends[run]:
                term = tokens[position]
                position += 1
                if term < 0:
                    continue
                lengths[document] += weight
                slot = slots[term]
                if slot < begin:
                    slots[term] = slot = pairs
                    terms[pairs] = term
                    frequencies[pairs] = 0
                    pairs += 1
                frequencies[slot] += weight
            run += 1
    offsets[len(run_counts)] = pairs
    return pairs


@kernel
def transpose(
    offsets: Array,
    columns: Array,
    values: Array,
    base: int,
    first: int,
    cursors: Array,
    rows_out: Array,
    values_out: Array,
) -> bool:
    """Distribute the entries of the lists base, base + 1, ... over their columns: a stable counting sort.

    Each column's rows ascend. Only the columns first, first + 1, ... first + len(cursors) - 1 are written; `cursors`
    holds where each goes on in the output and, afterwards, where it ends.
    """
    for row in range(len(offsets) - 1):
        if offsets[row] < 0 or offsets[row + 1] > len(columns):
            return False
        for position in range(offsets[row], offsets[row + 1]):
            column = columns[position] - first
            if column < 0 or column >= len(cursors):
                continue
            target = cursors[column]
            if target >= len(rows_out):
                return False
            rows_out[target] = base + row
            values_out[target] = values[position]
            cursors[column] = target + 1
    return True
