"""The whole search: window by window through a segment, and query by query."""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from indexes.compilation import inlined_kernel, inner_kernel, kernel
from indexes.kernels.best import guess, hope, keep_known, settle, settle_known
from indexes.kernels.collecting import collect, collect_listed, count_above, score_near
from indexes.kernels.heap import sort_best
from indexes.kernels.points import CHUNKS_FETCHED, add, add_column, add_constant, fetch, points_in_column, points_of
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
from indexes.postings import DENSE_SHARE, WINDOW_BITS

SPARSE_SHARE = 16
"""A window with less than one posting for this many documents is read again rather than scanned."""

LOOK_UP_COST = 200
LOOK_UP_COST_OF_BYTE = 3
"""Scoring a document from its own list costs about as much time as adding this many postings, and for each of its
bytes as much as adding these."""

SCAN_COST = 8192
"""Counting the documents of a window that are near the threshold costs less than adding this many postings."""

COLUMN_SHARE = 16
"""Adding up a column costs about as much time as adding one posting for this many of its documents."""


class Cursors(NamedTuple):
    """Where a search has come to, and the chunks of the window that it is at.

    Attributes:
        chunks: (n_lists,) int64, next chunk of each list.
        positions: (n_lists,) int64, its first posting.
        columns: (n_lists,) int64, where the next column of each list begins.
        here: (n_lists,) int64, lists that have a chunk in the window, those that can add most first.
        begins: (n_lists,) int64, where its postings begin; -1 - p for a column that begins at p.
        ends: (n_lists,) int64, where its postings end.
        adds: (n_lists,) int64, most points that it adds to a document.
        costs: (n_lists,) int64, what adding it up costs, in postings.
        promising: (1,) float64, share of the threshold at which ceasing to read has paid in the windows before.
        fetched: (1,) int64, see `points.fetch`.
    """

    chunks: Array
    positions: Array
    columns: Array
    here: Array
    begins: Array
    ends: Array
    adds: Array
    costs: Array
    promising: Array
    fetched: Array


@inner_kernel
def _sum(numbers: Array, n: int) -> int:
    """Return the sum of the first n numbers."""
    total = 0
    for number in range(n):
        total += numbers[number]
    return total


@inner_kernel
def _fit(query: Query, postings: Postings) -> bool:
    """Tell whether the query's lists lie inside the arrays."""
    wrong = 0
    for number in query.lists:
        wrong += not (0 <= postings.starts[number] <= postings.starts[number + 1] <= len(postings.rows))
        first, last = postings.chunk_starts[number], postings.chunk_starts[number + 1]
        wrong += not (0 <= first <= last <= len(postings.windows))
        if len(postings.dense_starts):
            first, last = postings.dense_starts[number], postings.dense_starts[number + 1]
            wrong += not (0 <= first <= last <= len(postings.dense))
    return wrong == 0


@inner_kernel
def _cursors(query: Query, postings: Postings) -> Cursors:
    """Return cursors at the beginning of all lists."""
    numbers = np.zeros((8, len(query.lists)), np.int64)
    for number in range(len(query.lists)):
        numbers[0, number] = postings.chunk_starts[query.lists[number]]
        numbers[1, number] = postings.starts[query.lists[number]]
        if len(postings.dense_starts):
            numbers[2, number] = postings.dense_starts[query.lists[number]]
    return Cursors(
        numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], numbers[7],
        np.ones(1), np.zeros(1, np.int64),
    )  # fmt: skip


@inner_kernel
def _enter(search: Search, cursors: Cursors, window: int, width: int) -> int:
    """Go to the chunks of a window; return how many there are, -1 where chunks go beyond their list."""
    query, postings, points = search.query, search.postings, search.points
    n_here = 0
    for place in range(len(query.lists)):
        number = points.order[place]
        chunk, following = cursors.chunks[number], query.lists[number] + 1
        if chunk == postings.chunk_starts[following] or whole(postings.windows[chunk]) != window:
            continue
        size = whole(postings.sizes[chunk]) + 1
        bound = min(whole(postings.bounds[chunk]), points.bounds.shape[1] - 1)
        cursors.chunks[number] = chunk + 1
        cursors.here[n_here] = number
        if len(postings.dense_starts) and size * DENSE_SHARE >= width:
            cursors.begins[n_here] = -1 - cursors.columns[number]
            cursors.columns[number] += width
            cursors.adds[n_here] = points_in_column(bound, points.factors[number])
            cursors.costs[n_here] = -(-width // COLUMN_SHARE)  # rounded up: then too much for `collect_listed`
            if cursors.columns[number] > postings.dense_starts[following]:
                return -1
        else:
            cursors.begins[n_here] = cursors.positions[number]
            cursors.positions[number] += size
            cursors.adds[n_here] = points.bounds[number, bound]
            cursors.costs[n_here] = size
            if cursors.positions[number] > postings.starts[following]:
                return -1
        cursors.ends[n_here] = cursors.positions[number]
        n_here += 1
    return n_here


@inner_kernel
def _have_ended(query: Query, postings: Postings, cursors: Cursors) -> bool:
    """Tell whether the chunks have led to the end of each list, and not to another place."""
    wrong = 0
    for number in range(len(query.lists)):
        following = query.lists[number] + 1
        wrong += cursors.chunks[number] != postings.chunk_starts[following]
        wrong += cursors.positions[number] != postings.starts[following]
        if len(postings.dense_starts):
            wrong += cursors.columns[number] != postings.dense_starts[following]
    return wrong == 0


@inner_kernel
def _look_up_cost(documents: Documents) -> int:
    """Return what scoring a document from its own list costs on average, in postings that are added up."""
    return LOOK_UP_COST + LOOK_UP_COST_OF_BYTE * len(documents.content) // (len(documents.offsets) - 1)


@inner_kernel
def _pays(search: Search, n_new: int, spent: int) -> bool:
    """Tell whether new documents can be scored from the window's postings, and faster than from their own lists."""
    if len(search.formula.lengths) or len(search.postings.values) == 0 or search.best.state[KNOWN]:
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
    cursors = _cursors(search.query, search.postings)
    for base in range(0, n_documents, WINDOW):
        width = min(WINDOW, n_documents - base)
        n_here = _enter(search, cursors, base >> WINDOW_BITS, width)
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
            if base == 0 and state[THRESHOLD] == 0 and len(search.allowed) == 0:
                guess(sums, width, n_documents, best)
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
    if not _have_ended(search.query, search.postings, cursors) or cursors.fetched[0] < 0:
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
    if not _fit(query, postings):
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
