"""The whole search: window by window through a segment, and query by query."""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

import numpy as np

from indexes.compilation import inlined_kernel, inner_kernel, kernel
from indexes.kernels.best import guess, hope, keep_known, settle, settle_known
from indexes.kernels.collecting import collect, collect_listed, count_above, score_near
from indexes.kernels.cursors import Cursors, cursors_of, enter, fit, have_ended
from indexes.kernels.heap import sort_best
from indexes.kernels.points import CHUNKS_FETCHED, add, add_column, add_constant, fetch, points_of
from indexes.kernels.rescoring import score_from_postings
from indexes.kernels.views import (
    DAMAGED,
    FAILED,
    GUESSED,
    HAS_GUESSED,
    HOPED,
    KNOWN,
    LARGEST_SUM,
    MARGIN,
    N_ROOMS,
    N_STATE,
    N_UNREAD,
    REPEATED,
    SEARCHED,
    SIZE,
    THRESHOLD,
    UNREAD,
    WAITING,
    WINDOW,
    Array,
    Best,
    Documents,
    Formula,
    Postings,
    Query,
    Search,
)
from indexes.packing_kernels import whole
from indexes.postings import WINDOW_BITS

SPARSE_SHARE = 16
"""A window with less than one posting for this many documents is read again rather than scanned."""

LOOK_UP_COST = 200
LOOK_UP_COST_OF_BYTE = 3
"""Scoring a document from its own list costs about as much time as adding this many postings, and for each of its
bytes as much as adding these."""

SCAN_COST = 8192
"""Counting the documents of a window that are near the threshold costs less than adding this many postings."""


@inner_kernel
def _sum(numbers: Array, n: int) -> int:
    """Return the sum of the first n numbers."""
    total = 0
    for number in range(n):
        total += numbers[number]
    return total


@inner_kernel
def _look_up_cost(documents: Documents) -> int:
    """Return what scoring a document from its own list costs on average, in postings that are added up."""
    return LOOK_UP_COST + LOOK_UP_COST_OF_BYTE * len(documents.content) // (len(documents.offsets) - 1)


@inner_kernel
def _pays(search: Search, n_new: int, spent: int) -> bool:
    """Tell whether new documents can be scored from the window's postings, and faster than from their own lists."""
    has_impacts = len(search.postings.values) > 0 or len(search.postings.dense_starts) > 0
    if len(search.formula.lengths) or not has_impacts or search.best.state[KNOWN]:
        return False
    return n_new <= LARGEST_SUM and n_new * _look_up_cost(search.documents) > 2 * spent


@inner_kernel
def _add_up(search: Search, cursors: Cursors, n_here: int, width: int, threshold: int) -> tuple[int, int]:
    """Add up the chunks of a window, or only those that can add most.

    Returns:
        How many points the chunks that were left unread can add to a document, and what was spent, in postings.
    """
    postings, points = search.postings, search.points
    look_up_cost = _look_up_cost(search.documents)
    missing, unread = _sum(cursors.adds, n_here), _sum(cursors.costs, n_here)
    total, fetched_to = unread, 0
    for place in range(n_here):
        if place > 0 and missing <= cursors.promising[0] * threshold and unread > SCAN_COST:
            n_near = count_above(search.sums, max(threshold - missing, 0))
            if n_near * look_up_cost < unread:
                cursors.promising[0] = min(1.0, 1.05 * cursors.promising[0])
                return max(missing, 1), total - unread  # crafted bounds can be 0
            cursors.promising[0] = 0.9 * missing / threshold
        if place == fetched_to:
            fetched_to = min(place + CHUNKS_FETCHED, n_here)
            cursors.fetched[0] += fetch(postings, cursors.begins, cursors.ends, place, fetched_to)
        number, begin, end = cursors.here[place], cursors.begins[place], cursors.ends[place]
        if begin < 0:
            add_column(postings.dense[-1 - begin : -1 - begin + width], points.factors[number], search.sums)
        elif len(postings.values):
            add(postings.rows[begin:end], postings.values[begin:end], points.tables[number], search.sums)
        else:
            add_constant(postings.rows[begin:end], points.tables[number, 1], search.sums)
        missing -= cursors.adds[place]
        unread -= cursors.costs[place]
    return 0, total


@inlined_kernel
def _search_windows(search: Search, touched: Array) -> bool:  # noqa: C901, PLR0912 - the story in one piece
    """Go through all windows once; False for damage."""
    best, state, sums = search.best, search.best.state, search.sums
    n_documents = len(search.documents.offsets) - 1
    cursors = cursors_of(search.query, search.postings)
    for base in range(0, n_documents, WINDOW):
        width = min(WINDOW, n_documents - base)
        n_here = enter(search, cursors, base >> WINDOW_BITS, width)
        if n_here < 0:
            return False
        threshold = whole(min(state[THRESHOLD] * search.daring, LARGEST_SUM))
        if _sum(cursors.adds, n_here) <= threshold:
            continue
        missing, spent = _add_up(search, cursors, n_here, width, threshold)
        touched[0] += spent
        if missing > 0:
            # The second part is nothing unless the search dares to be approximate.
            if not score_near(search, base, width, missing - (threshold - state[THRESHOLD])):
                return False
        elif spent * SPARSE_SHARE < width and spent + state[WAITING] <= len(best.waiting_rows):
            collect_listed(search, base, width, cursors.begins[:n_here], cursors.ends[:n_here])
            continue
        else:
            if base == 0 and state[THRESHOLD] == 0:
                guess(sums, width, n_documents, search.allowed, best)
            first, n_rooms = state[WAITING], state[N_ROOMS]
            if not collect(search, base, width):
                return False
            if n_rooms == state[N_ROOMS] and _pays(search, state[WAITING] - first, spent):
                score_from_postings(search, first, base, cursors.here, cursors.begins, cursors.ends, n_here)
        sums[:] = 0
        if not state[KNOWN]:
            hope(best)
        elif base == 0 or state[WAITING] >= 2 * len(best.scores):
            keep_known(best)
    if not have_ended(search.query, search.postings, cursors) or cursors.fetched[0] < 0:
        return False
    if state[KNOWN]:
        keep_known(best)
        settle_known(best, search.points.scale)
        return True
    hope(best)
    return settle(search)


@inlined_kernel
def _search_one(
    query: Query, postings: Postings, documents: Documents, formula: Formula, allowed: Array, floor: float,
    daring: float, best: Best, sums: Array, touched: Array,
) -> int:  # fmt: skip
    """Find one query's best documents, best first; return how many, `DAMAGED` or `UNREAD`."""
    state = best.state
    state[:] = 0
    if len(query.lists) == 0:
        return 0
    if not fit(query, postings):
        return DAMAGED
    points, error = points_of(query, postings, formula)
    search = Search(query, postings, documents, formula, points, allowed, daring, best, sums)
    given = max(0, whole(min(points.scale * floor, 2.0 * LARGEST_SUM)) - 1)
    # Few lists, or a segment where hoping for less has failed: the largest possible error. Otherwise a part of it, for
    # errors do not all meet in one document.
    careful = len(query.lists) <= 4 or best.luck[REPEATED] * 8 > best.luck[SEARCHED] + 8
    margin = (error if careful else error // 4) + len(query.lists) + 2
    certain = 0
    for _ in range(2):
        state[:] = 0
        state[THRESHOLD], state[MARGIN], state[KNOWN] = max(given, certain), margin, points.exact
        if not _search_windows(search, touched):
            sums[:] = 0
            return DAMAGED
        if state[N_UNREAD] > 0:
            return UNREAD
        tried, failed = (GUESSED, FAILED) if state[HAS_GUESSED] else (SEARCHED, REPEATED)
        best.luck[tried] += margin >= 0
        if state[SIZE] == len(best.scores):
            certain = max(0, whole(points.scale * best.scores[0]) - 1)
        if state[HOPED] <= certain:
            break
        # Something that was dropped might be better than the last: once more, hoping for nothing.
        margin = -1
        best.luck[failed] += 1
    sort_best(best.scores, best.rows, state[SIZE])
    return state[SIZE]


@kernel
def search(
    bounds: Array, lists: Array, weights: Array, postings: Postings, documents: Documents, formula: Formula,
    allowed: Array, floors: Array, daring: float, scores: Array, rows: Array, counts: Array, unread: Array,
    luck: Array, touched: Array,
) -> int:  # fmt: skip
    """Find the best documents of one segment for several queries.

    Args:
        bounds: (n_queries + 1,) int64; query q has the lists bounds[q]:bounds[q + 1].
        lists: (n,) int64, numbers of lists, ascending in each query, at most `MOST_LISTS`; must exist.
        weights: (n,) float64, positive.
        postings: the segment's.
        documents: the segment's.
        formula: what postings are worth.
        allowed: (n_documents,) bool, which may be returned; empty allows all.
        floors: (n_queries,) float64, at least 0; documents that score less are not needed.
        daring: 1 searches exactly; a larger factor multiplies the threshold where lists are left unread.
        scores: (n_queries, k) float64, output, descending; equal ones by row.
        rows: (n_queries, k) int64, output.
        counts: (n_queries,) int64, output: how many were found. Queries whose count is not `UNREAD`
            are answered already.
        unread: (n,) int64, output: documents to compare with their checksums, behind them -1.
        luck: (4,) int64, of the segment, see `Best.luck`: changes how long a search takes, never what it finds; not
            looked at where the search is daring.
        touched: (1,) int64, how many postings were added up, is added to.

    Returns:
        0; `DAMAGED` where a list is not what it should be; `UNREAD` where documents in `unread` must be compared with
        their checksums before the queries with that count can be answered.
    """
    k = scores.shape[1]
    sums = np.zeros(WINDOW, np.uint16)
    n_wait = 4 * k + 256
    waiting_rows, waiting_points = np.empty(n_wait, np.int64), np.empty(n_wait, np.uint16)
    waiting_scores = np.empty(n_wait)
    state = np.zeros(N_STATE, np.int64)
    n_unread = 0
    for number in range(len(counts)):
        if counts[number] != UNREAD:
            continue
        if daring > 1:  # then thresholds decide what is found: they must not depend on the searches before
            luck = np.zeros(4, np.int64)
        query = Query(lists[bounds[number] : bounds[number + 1]], weights[bounds[number] : bounds[number + 1]])
        waiting = waiting_rows, waiting_points, waiting_scores
        best = Best(scores[number], rows[number], *waiting, unread[n_unread:], state, luck)
        counts[number] = _search_one(
            query, postings, documents, formula, allowed, floors[number], daring, best, sums, touched
        )
        if counts[number] == DAMAGED:
            return DAMAGED
        if counts[number] == UNREAD:
            n_unread = min(n_unread + state[N_UNREAD], len(unread))
    for number in range(n_unread, len(unread)):
        unread[number] = -1
    return UNREAD if n_unread else 0
