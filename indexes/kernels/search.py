"""The whole search: query by query, and for each of them segment by segment."""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

import numpy as np

from indexes.compilation import inner_kernel, kernel
from indexes.kernels.collecting import STRIDE
from indexes.kernels.cursors import fit
from indexes.kernels.exact import is_unread, score_document
from indexes.kernels.points import are_scores, largest_parts, points_of
from indexes.kernels.segments import documents_of, formula_of, postings_of, query_of, segment_of, sequences_of
from indexes.kernels.settling import make_room, settle
from indexes.kernels.views import (
    AT,
    BATCH,
    DAMAGED,
    FAILED,
    GUESSED,
    HAS_GUESSED,
    HOPED,
    KNOWN,
    LARGEST_SUM,
    LIMIT,
    MARGIN,
    MOST_LISTS,
    N_STATE,
    N_UNREAD,
    REPEATED,
    SEARCHED,
    THRESHOLD,
    UNREAD,
    WAITING,
    WINDOW,
    Array,
    Search,
    Segment,
    Segments,
    Waiting,
)
from indexes.kernels.waiting import LATEST, SMALL_K, best_last, kth_largest, points_of_score, wait
from indexes.kernels.windows import search_windows
from indexes.packing_kernels import whole

POSTINGS_PER_LOOK_UP = 400
"""Scoring a document from its own list costs about as much as adding up this many postings, roughly."""


@inner_kernel
def _survey(segments: Segments, lists: Array, weights: Array, state: Array) -> tuple[float, bool, float, bool]:
    """Look up the query in all segments.

    Args:
        segments: where what is found is written to.
        lists: (n_segments, n) int64, the numbers of the query's lists, -1 where a segment does not hold one.
        weights: (n,) float64.
        state: see `views.AT`.

    Returns:
        The scale of points, whether points are scores, by how much a score may differ from its points, and whether
        all lists lie inside their arrays.
    """
    most, error, exact, longest = 0.0, 0.0, True, 1
    for number in range(len(segments.table)):
        n_lists, total_weight = 0, 0.0
        for place in range(len(weights)):
            if lists[number, place] >= 0:
                segments.lists[number, n_lists] = lists[number, place]
                segments.weights[number, n_lists] = weights[place]
                total_weight += weights[place]
                n_lists += 1
        segments.n_lists[number], state[AT] = n_lists, number
        query, postings = query_of(segments, number), postings_of(segments.table, number)
        if not fit(query, postings):
            return 0.0, False, 0.0, False
        formula = formula_of(segments.table, segments.formulas, number)
        total = largest_parts(query, postings, formula, segments.largest[number])
        exact = exact and are_scores(query.weights, formula, total)
        most, error = max(most, total), max(error, total_weight * formula.gap)
        if n_lists <= MOST_LISTS:  # otherwise nothing is added up, but other segments may hold fewer of the lists
            longest = max(longest, n_lists)
    # Rounding up adds at most 2 points for each list, and one more leaves room for inexact multiplication.
    room = LARGEST_SUM - 3.0 * longest
    scale = 1.0 if exact else room / max(most, 1e-300)
    return scale, exact, 0.0 if exact else error, True


@inner_kernel
def _is_looked_up(segment: Segment) -> bool:
    """Tell whether documents are scored from their own lists: few are allowed, or there are too many lists."""
    if len(segment.query.lists) > MOST_LISTS:
        return True
    n_postings = 0
    for number in segment.query.lists:
        n_postings += segment.postings.starts[number + 1] - segment.postings.starts[number]
    return segment.are_few and len(segment.candidates) * POSTINGS_PER_LOOK_UP < n_postings


@inner_kernel
def _look_up(search: Search) -> bool:
    """Score all documents that are allowed; False for damage."""
    segment, waiting, state = search.segment, search.waiting, search.waiting.state
    segments, rows, bounds, scores = waiting.segments, waiting.rows, waiting.points, waiting.scores
    n_documents = len(segment.documents.offsets) - 1
    for place in range(len(segment.candidates) if segment.are_few else n_documents):
        row = segment.candidates[place] if segment.are_few else place
        if len(segment.allowed) and not segment.allowed[row]:
            continue
        if is_unread(segment.documents, row):
            if state[N_UNREAD] < len(waiting.unread):
                waiting.unread[state[N_UNREAD], 0], waiting.unread[state[N_UNREAD], 1] = search.number, row
            state[N_UNREAD] += 1
            continue
        score = score_document(segment.query, segment.documents, segment.formula, row)
        if score < 0:
            return False
        points = points_of_score(score, search.points.scale, state[KNOWN])
        if points <= state[LIMIT]:
            continue
        if state[WAITING] == len(waiting.rows) and not make_room(search, row):
            return False
        wait(segments, rows, bounds, scores, state, search.number, row, points, score)
    return True


@inner_kernel
def _search_all(segments: Segments, waiting: Waiting, sums: Array, scale: float, daring: float, touched: Array) -> bool:
    """Go through all segments once; False for damage."""
    state, widest = waiting.state, 0
    for number in range(len(segments.table)):
        widest = max(widest, len(sequences_of(segments, number)))
    sums[: min(widest, WINDOW)] = 0
    for place in range(len(segments.order)):
        number = segments.order[place]
        if segments.n_lists[number] == 0:
            continue
        segment = segment_of(segments, number)
        is_looked_up = _is_looked_up(segment)
        points = points_of(segment, scale, state[KNOWN] != 0, is_looked_up)
        search = Search(number, segment, points, segments, waiting, daring, sums)
        state[AT], state[LIMIT] = number, state[THRESHOLD]
        if not (_look_up(search) if is_looked_up else search_windows(search, touched)):
            return False
        # Where few are wanted, their scores serve the segments that follow; where many are, most will not stay.
        if waiting.k <= SMALL_K and not settle(waiting, segments, scale):
            return False
    return settle(waiting, segments, scale)


@inner_kernel
def _search_one(
    segments: Segments, lists: Array, weights: Array, daring: float, waiting: Waiting, sums: Array, touched: Array
) -> int:
    """Find one query's best documents; return 0, `DAMAGED` or `UNREAD`."""
    state, luck, n_lists = waiting.state, waiting.luck, len(weights)
    state[:] = 0
    scale, exact, error, fits = _survey(segments, lists, weights, state)
    if not fits:
        return DAMAGED
    # Few lists, or segments where hoping for less has failed: the largest possible error. Otherwise a part of it, for
    # errors do not all meet in one document.
    careful = n_lists <= 4 or luck[REPEATED] * 8 > luck[SEARCHED] + 8
    margin = whole(min(scale * error * (1.0 if careful else 0.25), LARGEST_SUM)) + n_lists + 2
    certain = 0
    for _ in range(2):
        state[:] = 0
        state[THRESHOLD], state[MARGIN], state[KNOWN] = certain, margin, exact
        if not _search_all(segments, waiting, sums, scale, daring, touched):
            return DAMAGED
        if state[N_UNREAD] > 0:
            return UNREAD
        tried, failed = (GUESSED, FAILED) if state[HAS_GUESSED] else (SEARCHED, REPEATED)
        luck[tried] += margin >= 0
        # Now all that wait have scores. Those that were only hoped for must have come true.
        if state[WAITING] >= waiting.k:
            least = kth_largest(waiting.points[: state[WAITING]], waiting.k)
            certain = max(certain, least - (1 if exact else 2))
        if state[HOPED] <= certain:
            break
        # Something that was dropped might be better than the last: once more, hoping for nothing.
        margin = -1
        luck[failed] += 1
    return 0


@kernel
def search(
    table: Array, formulas: Array, allowed: Array, order: Array, bounds: Array, lists: Array, weights: Array,
    daring: float, scores: Array, numbers: Array, rows: Array, sequences: Array, counts: Array, unread: Array,
    luck: Array, touched: Array,
) -> int:  # fmt: skip
    """Find the best documents of all segments for several queries.

    Args:
        table: addresses of the segments' arrays, see `indexes.segment_table`.
        formulas: what their postings are worth.
        allowed: which documents may be returned.
        order: (n_segments,) int64, in which the segments are searched.
        bounds: (n_queries + 1,) int64; query q has the lists bounds[q]:bounds[q + 1].
        lists: (n_segments, n) int64, numbers of lists, -1 for those that a segment does not hold, ascending in each
            query where they are not; must exist.
        weights: (n,) float64, positive.
        daring: 1 searches exactly; a larger factor multiplies the threshold where lists are left unread.
        scores: (n_queries, k) float64, output, descending; equal ones by sequence number.
        numbers: (n_queries, k) int32, output: the documents' segments.
        rows: (n_queries, k) int64, output.
        sequences: (n_queries, k) int64, output.
        counts: (n_queries,) int64, output: how many were found. Queries whose count is not `UNREAD`
            are answered already.
        unread: (n, 2) int64, output: segments and rows of documents to compare with their checksums; behind them -1.
        luck: (4,) int64, of the segments, see `Waiting.luck`: changes how long a search takes, never what it finds; not
            looked at where the search is daring.
        touched: (1,) int64, how many postings were added up, is added to.

    Returns:
        0; `UNREAD` where documents in `unread` must be compared with their checksums before the queries with that
        count can be answered; `DAMAGED` - s where segment s is not what it should be.
    """
    n_segments, k = len(table), scores.shape[1]
    n_documents = 0
    for number in range(n_segments):
        n_documents += len(documents_of(table, number).offsets) - 1
    room = min(4 * k, n_documents) + 4 * STRIDE
    state, sums = np.zeros(N_STATE, np.int64), np.zeros(WINDOW, np.uint16)
    waiting_numbers, waiting_rows = np.empty(room, np.int64), np.empty(room, np.int64)
    waiting_points, waiting_scores = np.empty(room, np.uint16), np.empty(room)
    promises, sorting, keys = np.empty(room, np.uint16), np.empty((2, room), np.int64), np.empty(room, np.int64)
    batch, n_unread, longest = np.empty(BATCH, np.int64), 0, 0
    for number in range(len(counts)):
        longest = max(longest, bounds[number + 1] - bounds[number])
    own_lists = np.empty((n_segments, longest), np.int64)
    own_weights, largest = np.empty((n_segments, longest)), np.empty((n_segments, longest))
    segments = Segments(
        table, formulas, allowed, order, np.zeros(n_segments, np.int64), own_lists, own_weights, largest
    )
    for number in range(len(counts)):
        if counts[number] != UNREAD:
            continue
        if daring > 1:  # then thresholds decide what is found: they must not depend on the searches before
            luck = np.zeros(4, np.int64)
        waiting = Waiting(
            k, waiting_numbers, waiting_rows, waiting_points, waiting_scores, promises, sorting, keys, batch,
            unread[n_unread:], state, luck,
        )  # fmt: skip
        first, last = bounds[number], bounds[number + 1]
        found = _search_one(segments, lists[:, first:last], weights[first:last], daring, waiting, sums, touched)
        if found == DAMAGED:
            return DAMAGED - state[AT]
        if found == UNREAD:
            n_unread = min(n_unread + state[N_UNREAD], len(unread))
            continue
        ranked = best_last(waiting, segments)
        counts[number] = min(len(ranked), k)
        for place in range(counts[number]):
            entry = ranked[len(ranked) - 1 - place]
            scores[number, place], rows[number, place] = waiting_scores[entry], waiting_rows[entry]
            numbers[number, place], sequences[number, place] = waiting_numbers[entry], LATEST - keys[entry]
    unread[n_unread:] = -1
    return UNREAD if n_unread else 0
