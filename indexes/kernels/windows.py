"""Searching one segment, window by window."""

from __future__ import annotations

from indexes.compilation import inner_kernel
from indexes.kernels.collecting import STRIDE, collect, collect_listed, count_above
from indexes.kernels.counting import count, n_countable
from indexes.kernels.cursors import Cursors, cursors_of, enter, have_ended
from indexes.kernels.points import CHUNKS_FETCHED, add, add_column, add_constant, fetch
from indexes.kernels.rescoring import score_from_postings
from indexes.kernels.settling import settle
from indexes.kernels.views import (
    CLOSE,
    KNOWN,
    LARGEST_SUM,
    LIMIT,
    LOOSE,
    N_ROOMS,
    THRESHOLD,
    WAITING,
    WINDOW,
    Array,
    Documents,
    Search,
)
from indexes.kernels.waiting import guess, hope, keep_best
from indexes.packing_kernels import whole
from indexes.postings import WINDOW_BITS

SPARSE_SHARE = 16
"""A window with less than one posting for this many documents is read again rather than scanned."""

LOOK_UP_COST = 200
LOOK_UP_COST_OF_BYTE = 3
"""Scoring a document from its own list costs about as much time as adding this many postings, and for each of its
bytes as much as adding these."""

CLEARING_COST = 4096
"""Clearing the sums of a window costs about as much as adding this many postings."""

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
def _pays(search: Search, n_new: int, spent: int, clearing: int) -> bool:
    """Tell whether new documents can be scored from the window's postings, and faster than from their own lists.

    Args:
        search: the search.
        n_new: how many documents are new.
        spent: postings of the window.
        clearing: what clearing the sums would cost.
    """
    if len(search.segment.postings.values) != len(search.segment.postings.rows) or search.waiting.state[KNOWN]:
        return False
    return n_new <= LARGEST_SUM and n_new * _look_up_cost(search.segment.documents) > 2 * spent + clearing


@inner_kernel
def _add_up(search: Search, cursors: Cursors, n_here: int, width: int, threshold: int) -> tuple[int, int]:
    """Add up the chunks of a window, or only those that can add most.

    Returns:
        How many points the chunks that were left unread can add to a document, and what was spent, in postings.
    """
    postings, points = search.segment.postings, search.points
    look_up_cost = _look_up_cost(search.segment.documents)
    missing, unread = _sum(cursors.adds, n_here), _sum(cursors.costs, n_here)
    total = unread
    n_counted = n_countable(search, cursors, n_here, missing, cursors.promising[0] * threshold)
    if n_counted > 0:
        count(postings.rows, cursors.begins[:n_counted], cursors.ends[:n_counted], search.sums[:width])
        missing -= n_counted
        unread -= _sum(cursors.costs, n_counted)
    fetched_to = n_counted
    for place in range(n_counted, n_here):
        if place > 0 and missing <= cursors.promising[0] * threshold and unread > SCAN_COST:
            n_near = count_above(search.sums, width, max(threshold - missing, 0))
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


@inner_kernel
def search_windows(search: Search, touched: Array) -> bool:  # noqa: C901, PLR0912 - the story in one piece
    """Go through all windows of a segment once; False for damage."""
    waiting, state, sums, segment = search.waiting, search.waiting.state, search.sums, search.segment
    n_documents = len(segment.documents.offsets) - 1
    cursors = cursors_of(segment.query, segment.postings)
    # Segments become smaller: what a window leaves behind its last document matters only to others of its segment.
    dirty = min(WINDOW, -(-n_documents // STRIDE) * STRIDE) if n_documents <= WINDOW else WINDOW
    for base in range(0, n_documents, WINDOW):
        width = min(WINDOW, n_documents - base)
        n_here = enter(search, cursors, base >> WINDOW_BITS, width)
        if n_here < 0:
            return False
        threshold = whole(min(state[LIMIT] * search.daring, LARGEST_SUM))
        if _sum(cursors.adds, n_here) <= threshold:
            continue
        missing, spent = _add_up(search, cursors, n_here, width, threshold)
        touched[0] += spent
        first, n_rooms = state[WAITING], state[N_ROOMS]
        if missing > 0:
            # The second part is nothing unless the search dares to be approximate.
            missing = max(missing - (threshold - state[LIMIT]), 0)
            settled = settle(waiting, search.segments, search.points.scale)
            if not (settled and collect(search, base, width, missing, LOOSE)):
                return False
            if not settle(waiting, search.segments, search.points.scale):
                return False
        elif spent * SPARSE_SHARE < width and spent + state[WAITING] <= len(waiting.rows):
            collect_listed(search, base, width, cursors.begins[:n_here], cursors.ends[:n_here])
            if _pays(search, state[WAITING] - first, spent, 0):
                score_from_postings(search, first, base, cursors.here, cursors.begins, cursors.ends, n_here, True)
            continue
        else:
            if state[THRESHOLD] == 0 and state[WAITING] == 0:
                guess(search, base, width)
            if not collect(search, base, width, 0, 0.0 if state[KNOWN] else CLOSE):
                return False
            if n_rooms == state[N_ROOMS] and _pays(search, state[WAITING] - first, spent, CLEARING_COST):
                score_from_postings(search, first, base, cursors.here, cursors.begins, cursors.ends, n_here, False)
        sums[:dirty] = 0
        if state[WAITING] >= 2 * waiting.k and state[KNOWN]:
            if not settle(waiting, search.segments, search.points.scale):
                return False
            keep_best(search, base + width)
        elif 8 * (state[WAITING] - first) > waiting.k:
            hope(waiting)
    return have_ended(segment.query, segment.postings, cursors) and cursors.fetched[0] >= 0
