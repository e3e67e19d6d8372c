"""Exact scores of documents, from their own lists."""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

import numpy as np

from indexes.block_checksums import BLOCK
from indexes.compilation import inner_kernel, kernel
from indexes.kernels.segments import documents_of, formula_of
from indexes.kernels.views import Array, Documents, Formula, Query
from indexes.packing_kernels import LONGEST_SHIFT, whole


@inner_kernel
def is_unread(documents: Documents, row: int) -> bool:
    """Tell whether a document's list lies in blocks that nobody has compared with their checksums."""
    waiting = documents.waiting_offsets
    if len(waiting):
        begin = documents.offsets_begin + 8 * row
        if waiting[begin // BLOCK] or waiting[(begin + 15) // BLOCK]:
            return True
    waiting = documents.waiting_content
    if len(waiting):
        begin, end = documents.offsets[row], documents.offsets[row + 1]
        if 0 <= begin < end <= len(documents.content):
            first, last = (documents.content_begin + begin) // BLOCK, (documents.content_begin + end - 1) // BLOCK
            for block in range(first, last + 1):
                if waiting[block]:
                    return True
    return False


@inner_kernel
def norm_of(formula: Formula, row: int) -> float:
    """Return what is added to a document's frequencies below the fraction; below 0 where there is no fraction."""
    if len(formula.lengths) == 0:
        return -1.0
    relative = formula.lengths[row] / formula.average
    return formula.saturation * (1 - formula.slope + formula.slope * relative)


@inner_kernel
def score_list(lists: Array, weights: Array, content: Array, norm: float) -> float:
    """Return a document's score, 0 without any of the terms; -1 where its list is damaged.

    Reads what `packing_kernels.decode_pair` reads; written out here, for it takes half the time.

    Args:
        lists: (n,) int64, of the query.
        weights: (n,) float64.
        content: (n_bytes,) uint8, the document's packed list.
        norm: see `norm_of`.
    """
    n_lists = len(lists)
    if n_lists == 0:
        return 0.0
    # Unsigned, so that the compiler need not provide for positions counted from the end.
    position, end, one = np.uint64(0), np.uint64(len(content)), np.uint64(1)
    member, wanted, number, score = whole(-1), lists[0], 0, 0.0
    while position < end:
        byte = whole(content[position])
        position += one
        gap, shift = byte & 127, whole(7)
        while byte >= 128:
            if position == end or shift > LONGEST_SHIFT:
                return -1.0
            byte = whole(content[position])
            position += one
            gap |= (byte & 127) << shift
            shift += 7
        frequency = whole(1)
        if gap & 1:
            byte, frequency, shift = whole(128), whole(2), whole(0)
            while byte >= 128:
                if position == end or shift > LONGEST_SHIFT:
                    return -1.0
                byte = whole(content[position])
                position += one
                frequency += (byte & 127) << shift
                shift += 7
        member += 1 + (gap >> 1)
        if member < wanted:
            continue
        while number < n_lists and lists[number] < member:
            number += 1
        if number < n_lists and lists[number] == member:
            count = float(frequency)
            score += weights[number] * (count / (count + norm) if norm >= 0 else count)
            number += 1
        if number == n_lists:
            break
        wanted = lists[number]
    return score


@inner_kernel
def score_document(query: Query, documents: Documents, formula: Formula, row: int) -> float:
    """Return the score of a document, -1 where it is damaged."""
    first, last = documents.offsets[row], documents.offsets[row + 1]
    if first < 0 or last < first or last > len(documents.content):
        return -1.0
    return score_list(query.lists, query.weights, documents.content[first:last], norm_of(formula, row))


@kernel
def score_all(
    table: Array, formulas: Array, number: int, lists: Array, weights: Array, rows: Array, scores: Array
) -> bool:
    """Write the score of each of `rows`, (n,) int64, of a segment to `scores`, (n,) float64.

    Args:
        table: addresses, see `kernels.segments`.
        formulas: what postings are worth.
        number: the segment's.
        lists: (m,) int64, ascending.
        weights: (m,) float64.
        rows: must exist.
        scores: output.

    Returns:
        Whether no list is damaged.
    """
    query, documents = Query(lists, weights), documents_of(table, number)
    formula = formula_of(table, formulas, number)
    for place in range(len(rows)):
        scores[place] = score_document(query, documents, formula, rows[place])
        if scores[place] < 0:
            return False
    return True
