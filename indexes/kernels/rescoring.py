"""Exact scores of many documents of a window at once, from the postings that were just added up."""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

import numpy as np

from indexes.compilation import inner_kernel
from indexes.kernels.exact import norm_of
from indexes.kernels.views import CLOSE, KNOWN, UNSCORED, WAITING, WINDOW, Array, Search
from indexes.kernels.waiting import points_of_score
from indexes.packing_kernels import whole


@inner_kernel
def _hits(rows: Array, slots: Array, hits: Array) -> int:
    """Write to `hits`, (WINDOW,) uint16, which of the rows have a slot that is not 0; return how many.

    All are written, and kept where they count: whether a row has a slot nobody could foresee.
    """
    n_hits = 0
    for position in range(min(len(rows), WINDOW)):
        hits[n_hits] = position
        n_hits += slots[np.uint64(rows[position])] != 0
    return n_hits


@inner_kernel
def score_from_postings(  # noqa: C901, PLR0912 - one pass, told in order
    search: Search,
    first: int,
    base: int,
    here: Array,
    begins: Array,
    ends: Array,
    n_here: int,
    is_clean: bool,
) -> None:
    """Score the waiting documents first, first + 1, ..., all of the window, by reading its postings once more.

    Pays where documents are many and postings few: nothing is fetched from the documents' own lists. A stored value
    tells the frequency, or that it cannot; a document with such a posting keeps waiting for its score. Lists are read
    in the order of the query, so that sums grow in the same order as there. The window's sums are overwritten, with
    which documents wait where, and left clean.

    Args:
        search: the search.
        first: first of the waiting documents, at most 65,535 before the last.
        base: first document of the window.
        here: (n_here,) int64, lists with postings in the window.
        begins: (n_here,) int64, where these begin; below 0 for columns, see `cursors.Cursors`.
        ends: (n_here,) int64, where they end.
        n_here: how many lists there are.
        is_clean: whether the sums are clean already.
    """
    waiting, slots, n_waiting = search.waiting, search.sums, search.waiting.state[WAITING]
    query, postings, formula = search.segment.query, search.segment.postings, search.segment.formula
    frequencies, has_norms = formula.frequencies, len(formula.lengths) > 0
    place_of = np.full(len(query.lists), -1)
    for place in range(n_here):
        place_of[here[place]] = place
    if not is_clean:
        slots[:] = 0  # also behind the last document, where only crafted rows lead
    scores = waiting.scores[first:n_waiting]
    norms, hits = np.empty(len(scores) if has_norms else 0), np.empty(WINDOW, np.uint16)
    for number in range(len(scores)):
        slots[waiting.rows[first + number] - base] = number + 1
        scores[number] = 0.0
        if has_norms:
            norms[number] = norm_of(formula, waiting.rows[first + number])
    for list_number in range(len(place_of)):
        place, weight = place_of[list_number], query.weights[list_number]
        if place < 0:
            continue
        if begins[place] < 0:
            column = -1 - begins[place] - base
            for number in range(len(scores)):
                if scores[number] >= 0:
                    scores[number] += weight * postings.dense[column + waiting.rows[first + number]]
            continue
        begin, end = begins[place], ends[place]
        for hit in range(_hits(postings.rows[begin:end], slots, hits)):
            position = begin + whole(hits[hit])
            slot = whole(slots[postings.rows[position]]) - 1
            if slot >= len(scores) or scores[slot] < 0:
                continue
            frequency = frequencies[postings.values[position]]
            if frequency == 0:
                scores[slot] = CLOSE
            elif has_norms:
                scores[slot] += weight * (frequency / (frequency + norms[slot]))
            else:
                scores[slot] += weight * frequency
    for number in range(len(scores)):
        slots[waiting.rows[first + number] - base] = 0
        if scores[number] >= 0:
            points = points_of_score(scores[number], search.points.scale, waiting.state[KNOWN])
            waiting.points[first + number] = points
            waiting.state[UNSCORED] -= 1
