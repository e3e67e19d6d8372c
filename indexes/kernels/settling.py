"""Scoring the documents that wait, those that promise most first."""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

from indexes.compilation import inner_kernel
from indexes.kernels.exact import is_unread, norm_of, score_list
from indexes.kernels.segments import documents_of, formula_of, query_of
from indexes.kernels.views import (
    AT,
    BATCH,
    KNOWN,
    N_ROOMS,
    N_UNREAD,
    THRESHOLD,
    UNSCORED,
    WAITING,
    Array,
    Documents,
    Formula,
    Query,
    Search,
    Segments,
    Waiting,
)
from indexes.kernels.waiting import drop, hope, keep_best, kth_largest, points_of_score, raise_threshold
from indexes.packing_kernels import whole


@inner_kernel
def _fetch(waiting: Waiting, documents: Documents, formula: Formula, entries: Array) -> int:
    """Ask for the lists of some waiting documents of one segment before they are needed.

    Asking for all before using any lets the processor wait for them at the same time. The sum only keeps the compiler
    from leaving this out.
    """
    fetched = whole(0)
    for number in range(len(entries)):
        row = waiting.rows[entries[number]]
        fetched += documents.offsets[row]
        if len(formula.lengths):
            fetched += formula.lengths[row]
    for number in range(len(entries)):
        place = documents.offsets[waiting.rows[entries[number]]]
        if 0 <= place < len(documents.content):
            fetched += documents.content[place]
            fetched += documents.content[min(place + 64, len(documents.content) - 1)]
    return fetched


@inner_kernel
def _score(
    waiting: Waiting, query: Query, documents: Documents, formula: Formula, scale: float, entries: Array
) -> bool:
    """Score waiting documents of one segment; False for damage."""
    state = waiting.state
    fetched = _fetch(waiting, documents, formula, entries)
    for number in range(len(entries)):
        entry = entries[number]
        row = waiting.rows[entry]
        score = 0.0
        if is_unread(documents, row):
            if state[N_UNREAD] < len(waiting.unread):
                waiting.unread[state[N_UNREAD], 0] = waiting.segments[entry]
                waiting.unread[state[N_UNREAD], 1] = row
            state[N_UNREAD] += 1
        else:
            first, last = documents.offsets[row], documents.offsets[row + 1]
            if first < 0 or last < first or last > len(documents.content):
                return False
            content = documents.content[first:last]
            score = score_list(query.lists, query.weights, content, norm_of(formula, row))
            if score < 0:
                return False
        waiting.scores[entry] = score
        waiting.points[entry] = points_of_score(score, scale, state[KNOWN])
    state[UNSCORED] -= len(entries)
    # Always true; keeps the compiler from leaving the fetching out.
    return fetched != whole(-1)


@inner_kernel
def _score_above(waiting: Waiting, segments: Segments, scale: float, limit: int) -> bool:
    """Score the documents without a score whose points exceed a limit and the threshold, which rises meanwhile."""
    state, size, current = waiting.state, 0, -1
    # Raising the threshold is not worth the time while the best k themselves are scored, or for every few others.
    n_scored, enough = 0, max(waiting.k // 8, BATCH) if limit == 0 else state[WAITING]
    for number in range(state[WAITING] + 1):
        is_last = number == state[WAITING]
        if size == BATCH or (size and (is_last or waiting.segments[number] != current)):
            state[AT] = current
            query = query_of(segments, current)
            documents = documents_of(segments.table, current)
            formula = formula_of(segments.table, segments.formulas, current)
            if not _score(waiting, query, documents, formula, scale, waiting.batch[:size]):
                return False
            n_scored, size = n_scored + size, 0
            if n_scored >= enough:
                n_scored = 0
                raise_threshold(waiting)
        if is_last:
            break
        points = whole(waiting.points[number])
        if waiting.scores[number] < 0 and points > max(limit, state[THRESHOLD]):
            current = waiting.segments[number]
            waiting.batch[size] = number
            size += 1
    return True


@inner_kernel
def settle(waiting: Waiting, segments: Segments, scale: float) -> bool:
    """Give all documents that stay a score; False for damage, and then `AT` tells in which segment."""
    state, k, searched = waiting.state, waiting.k, waiting.state[AT]
    if state[UNSCORED] == 0:
        return True
    hope(waiting)
    if state[UNSCORED] and state[WAITING] > k + k // 8:
        middle = kth_largest(waiting.points[: state[WAITING]], k)
        if not _score_above(waiting, segments, scale, middle):
            return False
    if state[UNSCORED] and not _score_above(waiting, segments, scale, 0):
        return False
    hope(waiting)
    drop(waiting)
    state[AT] = searched
    return True


@inner_kernel
def make_room(search: Search, following: int) -> bool:
    """Drop or score documents that wait, where there is no place for another; False for damage.

    Args:
        search: the search.
        following: the next row of the segment.
    """
    waiting = search.waiting
    waiting.state[N_ROOMS] += 1
    hope(waiting)
    if 4 * waiting.state[WAITING] <= 3 * len(waiting.rows):
        return True
    if not settle(waiting, search.segments, search.points.scale):
        return False
    keep_best(search, following)
    return True
