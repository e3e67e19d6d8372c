"""Exact scores of many documents of a window at once, from the postings that were just added up."""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

import numpy as np

from indexes.compilation import inner_kernel
from indexes.kernels.views import WAITING, Array, Search
from indexes.packing_kernels import whole


@inner_kernel
def score_from_postings(
    search: Search, first: int, base: int, here: Array, begins: Array, ends: Array, n_here: int
) -> None:
    """Score the waiting documents first, first + 1, ..., all of the window, by reading its postings once more.

    Pays where documents are many and postings few: nothing is fetched from the documents' own lists. Only for impacts,
    whose stored value is what a posting is worth. Lists are read in the order of the query, so that sums grow in the
    same order as there. Overwrites the window's sums, with which documents wait where.

    Args:
        search: the search.
        first: first of the waiting documents, at most 65,535 before the last.
        base: first document of the window.
        here: (n_here,) int64, lists with postings in the window.
        begins: (n_here,) int64, where these begin; below 0 for columns, see `windows.Cursors`.
        ends: (n_here,) int64, where they end.
        n_here: how many lists there are.
    """
    best, postings, slots, n_waiting = search.best, search.postings, search.sums, search.best.state[WAITING]
    place_of = np.full(len(search.query.lists), -1)
    for place in range(n_here):
        place_of[here[place]] = place
    slots[:] = 0
    for number in range(first, n_waiting):
        slots[best.waiting_rows[number] - base] = number - first + 1
        best.waiting_scores[number] = 0.0
    for list_number in range(len(place_of)):
        place, weight = place_of[list_number], search.query.weights[list_number]
        if place < 0:
            continue
        if begins[place] < 0:
            column = -1 - begins[place] - base
            for number in range(first, n_waiting):
                best.waiting_scores[number] += weight * postings.dense[column + best.waiting_rows[number]]
            continue
        for position in range(begins[place], ends[place]):
            slot = whole(slots[postings.rows[position]])
            if slot > 0:
                best.waiting_scores[first + slot - 1] += weight * postings.values[position]
