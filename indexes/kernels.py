"""The loops that search postings, compiled by numba. Import inside functions only: this loads numba.

Read top to bottom. A query's lists are added up window by window (range-partitioned accumulation, the way of Lucene's
BooleanScorer), and what is added are small integers that bound a document's score from above:

    points(d) = sum over the lists that hold d of (floor(scale * weight * upper[value]) + 1)  >=  scale * score(d)

`upper[value]` bounds what the stored value of a posting (one byte) can be worth, see `indexes.frequency_classes`, and
`scale` is chosen so that no sum exceeds 16 bits: a window of 65,536 documents then takes 128 KiB, rows inside it are 16
bits as well, so that no damaged number can leave it, and vector instructions compare 32 documents at a time.

Documents whose points reach the threshold are scored exactly, in float64 and in the order of the terms, from their own
lists of terms (`indexes.documents`). Nothing that is returned depends on the points, on windows, segments or threads.

Three things keep the work small, and none of them can change the result:

1. Within a window the lists that can add most come first. When those that remain could no longer lift a document that
   has none of the others over the threshold, and few documents are near it, the remaining lists are not read: the few
   are scored exactly (MaxScore: Turtle & Flood, "Query evaluation: strategies and optimizations", 1995, with its choice
   between reading and looking up made by cost in each window).
2. A window whose lists together cannot reach the threshold is passed over (block-max pruning: Ding & Suel, "Faster
   top-k document retrieval using block-max indexes", SIGIR 2011; the blocks are a list's postings in a window).
3. While documents are only bounded, the k-th best points serve as threshold, hoping that points are close to scores.
   At the end the k-th best exact score must reach that threshold; then nothing that was dropped can be better than it.
   Where it does not, the search runs once more with the k-th exact score as the threshold, which is certain.

What is read from files is checked before it is used as a position: a kernel reports damage instead of touching memory
that is not its own, whatever a file holds.
"""

# ruff: noqa: PLR0917 - numba passes arguments by position; an array of parameters would hide what they are

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from indexes.block_checksums import BLOCK
from indexes.compilation import kernel
from indexes.packing_kernels import LONGEST_SHIFT
from indexes.postings import DENSE_SHARE

Array = np.ndarray

WINDOW_BITS = 16
WINDOW = 1 << WINDOW_BITS
"""Documents whose points are added up at a time."""

LARGEST_SUM = (1 << 16) - 1
"""No document may have more points."""

STRIDE = 256
"""Points that are compared with the threshold at a time, by vector instructions."""

SPARSE_SHARE = 16
"""A window with less than one posting for this many documents is read again rather than scanned."""

LOOK_UP_COST = 200
LOOK_UP_COST_OF_BYTE = 3
"""Scoring a document from its own list costs about as much time as adding this many postings, and for each of its
bytes as much as adding these."""

SCAN_COST = 8192
"""Counting the documents of a window that are near the threshold costs less than adding this many postings."""

BATCH = 32
"""Documents whose lists are fetched from memory together, so that the waiting overlaps."""

CHUNKS_FETCHED = 16
FETCHED = 4096
"""Chunks, and postings of each, that are fetched from memory together."""

FIRST_SAMPLE = 4096
"""Documents that the first threshold is guessed from, at least."""

COLUMN_SHARE = 16
"""Adding up a column costs about as much time as adding one posting for this many of its documents."""

DAMAGED = -1
UNREAD = -2


# --- The best k so far ------------------------------------------------------------------------------------------------
# A binary heap with the worst entry at its root, which is the one that a better document replaces.


@kernel
def _is_worse(score: float, row: int, other_score: float, other_row: int) -> bool:
    """Tell whether a document comes after another: lower score, or an equal one in a later row."""
    return score < other_score or (score == other_score and row > other_row)


@kernel
def _sink(scores: Array, rows: Array, size: int, score: float, row: int) -> None:
    """Replace the root and let the new entry sink to its place."""
    hole = 0
    while True:
        child = 2 * hole + 1
        if child >= size:
            break
        if child + 1 < size and _is_worse(scores[child + 1], rows[child + 1], scores[child], rows[child]):
            child += 1
        if not _is_worse(scores[child], rows[child], score, row):
            break
        scores[hole], rows[hole] = scores[child], rows[child]
        hole = child
    scores[hole], rows[hole] = score, row


@kernel
def _offer(scores: Array, rows: Array, size: int, score: float, row: int) -> int:
    """Keep a document if it is among the best len(scores); return how many are kept."""
    if size == len(scores):
        if _is_worse(scores[0], rows[0], score, row):
            _sink(scores, rows, size, score, row)
        return size
    hole = size
    while hole > 0:
        parent = (hole - 1) // 2
        if not _is_worse(score, row, scores[parent], rows[parent]):
            break
        scores[hole], rows[hole] = scores[parent], rows[parent]
        hole = parent
    scores[hole], rows[hole] = score, row
    return size + 1


@kernel
def _sort(scores: Array, rows: Array, size: int) -> None:
    """Order a heap best first: the worst of those that remain goes to the end, again and again."""
    for last in range(size - 1, 0, -1):
        score, row = scores[last], rows[last]
        scores[last], rows[last] = scores[0], rows[0]
        _sink(scores, rows, last, score, row)


# --- Exact scores -----------------------------------------------------------------------------------------------------


class Documents(NamedTuple):
    """Packed lists of documents (see `indexes.documents`) and which of their blocks nobody has compared yet.

    Attributes:
        offsets: (n_documents + 1,) int64.
        content: uint8.
        waiting_offsets: (n_blocks,) bool, blocks of the file of the offsets that are still to be compared with their
            checksums; empty when none is.
        waiting_content: the same for the content.
        offsets_begin: where the array begins in its file, in bytes.
        content_begin: the same for the content.
    """

    offsets: Array
    content: Array
    waiting_offsets: Array
    waiting_content: Array
    offsets_begin: int
    content_begin: int


class Formula(NamedTuple):
    """How much a posting is worth, before the list's weight.

    Attributes:
        upper: (256,) float64, most that a posting with this stored value can be worth.
        lower: (256,) float64, least.
        lengths: (n_documents,) int32 where a frequency f is worth f / (f + norm) with the norm
            saturation * (1 - slope + slope * length / average) (BM25); empty where it is worth f.
        saturation: of the norm.
        slope: of the norm.
        average: of the lengths.
    """

    upper: Array
    lower: Array
    lengths: Array
    saturation: float
    slope: float
    average: float


class Query(NamedTuple):
    """A query's lists.

    Attributes:
        lists: (n,) int64, ascending: the order in which a document's score is added up.
        weights: (n,) float64, positive.
    """

    lists: Array
    weights: Array


@kernel
def _is_unread(documents: Documents, row: int) -> bool:
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


@kernel
def _norm(formula: Formula, row: int) -> float:
    """Return what is added to a document's frequencies below the fraction; below 0 where there is no fraction."""
    if len(formula.lengths) == 0:
        return -1.0
    relative = formula.lengths[row] / formula.average
    return formula.saturation * (1 - formula.slope + formula.slope * relative)


@kernel
def _score_list(lists: Array, weights: Array, content: Array, norm: float) -> float:
    """Return a document's score, 0 without any of the terms; -1 where its list is damaged.

    Reads what `packing_kernels.decode_pair` reads; written out here, for it takes half the time.

    Args:
        lists: (n,) int64, of the query.
        weights: (n,) float64.
        content: (n_bytes,) uint8, the document's packed list.
        norm: see `_norm`.
    """
    n_lists = len(lists)
    if n_lists == 0:
        return 0.0
    # Unsigned, so that the compiler need not provide for positions counted from the end.
    position, end, one = np.uint64(0), np.uint64(len(content)), np.uint64(1)
    member, wanted, number, score = np.int64(-1), lists[0], 0, 0.0
    while position < end:
        byte = np.int64(content[position])
        position += one
        gap, shift = byte & 127, np.int64(7)
        while byte >= 128:
            if position == end or shift > LONGEST_SHIFT:
                return -1.0
            byte = np.int64(content[position])
            position += one
            gap |= (byte & 127) << shift
            shift += 7
        frequency = np.int64(1)
        if gap & 1:
            byte, frequency, shift = np.int64(128), np.int64(2), np.int64(0)
            while byte >= 128:
                if position == end or shift > LONGEST_SHIFT:
                    return -1.0
                byte = np.int64(content[position])
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


@kernel
def _score_document(query: Query, documents: Documents, formula: Formula, row: int) -> float:
    """Return the score of a document, -1 where it is damaged."""
    first, last = documents.offsets[row], documents.offsets[row + 1]
    if first < 0 or last < first or last > len(documents.content):
        return -1.0
    return _score_list(query.lists, query.weights, documents.content[first:last], _norm(formula, row))


# --- The state of one search ------------------------------------------------------------------------------------------


class Best(NamedTuple):
    """The best documents so far.

    Attributes:
        scores: (k,) float64, a heap with the worst at its root.
        rows: (k,) int64.
        waiting_rows: (4 * k + 256,) int64, documents that are only bounded.
        waiting_points: the same size, uint16, their points.
        unread: (n,) int64, documents whose lists must be compared with their checksums before they can be scored.
        state: (N_STATE,) int64, see `SIZE` and the following.
    """

    scores: Array
    rows: Array
    waiting_rows: Array
    waiting_points: Array
    unread: Array
    state: Array


SIZE, WAITING, THRESHOLD, HOPED, N_UNREAD, MARGIN, KNOWN = range(7)
"""Places in `Best.state`: how many documents are in the heap, and how many wait; the threshold: documents with no more
points are not needed; the largest threshold that was only hoped for; how many documents are unread; by how much points
must fall short of the k-th best for a document to be dropped, below 0 where nothing may be hoped for; whether points
are scores."""

N_STATE = 7


@kernel
def _kth_largest(points: Array, k: int) -> int:
    """Return the k-th largest of at least k numbers of 16 bits: by counting their upper bytes, then the lower ones."""
    counts = np.zeros(256, np.int64)
    for number in range(len(points)):
        counts[points[number] >> 8] += 1
    above, upper = np.int64(0), 255
    while above + counts[upper] < k:
        above += counts[upper]
        upper -= 1
    counts[:] = 0
    for number in range(len(points)):
        if points[number] >> 8 == upper:
            counts[points[number] & 255] += 1
    lower = 255
    while above + counts[lower] < k:
        above += counts[lower]
        lower -= 1
    return np.int64((upper << 8) + lower)


@kernel
def _keep(best: Best, score: float, row: int, scale: float) -> None:
    """Offer a document to the best, whose worst score is the threshold when there are k of them."""
    state = best.state
    state[SIZE] = _offer(best.scores, best.rows, state[SIZE], score, row)
    if state[SIZE] == len(best.scores):
        state[THRESHOLD] = max(state[THRESHOLD], np.int64(scale * best.scores[0]) - 1)


@kernel
def _score_waiting(
    best: Best, first: int, last: int, query: Query, documents: Documents, formula: Formula, scale: float
) -> bool:
    """Score the waiting documents first, first + 1, ... last - 1 that still have enough points; False for damage."""
    state = best.state
    fetched = np.int64(0)
    for begin in range(first, last, BATCH):
        end = min(begin + BATCH, last)
        # Asking for all before using any lets the processor wait for them at the same time.
        for number in range(begin, end):
            fetched += documents.offsets[best.waiting_rows[number]]
            if len(formula.lengths):
                fetched += formula.lengths[best.waiting_rows[number]]
        for number in range(begin, end):
            place = documents.offsets[best.waiting_rows[number]]
            if 0 <= place < len(documents.content):
                fetched += documents.content[place]
                fetched += documents.content[min(place + 64, len(documents.content) - 1)]
        for number in range(begin, end):
            row = best.waiting_rows[number]
            if np.int64(best.waiting_points[number]) <= state[THRESHOLD]:
                continue
            if _is_unread(documents, row):
                if state[N_UNREAD] < len(best.unread):
                    best.unread[state[N_UNREAD]] = row
                state[N_UNREAD] += 1
                continue
            first_byte, last_byte = documents.offsets[row], documents.offsets[row + 1]
            if first_byte < 0 or last_byte < first_byte or last_byte > len(documents.content):
                return False
            content = documents.content[first_byte:last_byte]
            score = _score_list(query.lists, query.weights, content, _norm(formula, row))
            if score < 0:
                return False
            if score > 0:
                _keep(best, score, row, scale)
    # Never true; keeps the compiler from leaving the fetching out.
    return fetched != np.int64(-1)


@kernel
def _settle(best: Best, query: Query, documents: Documents, formula: Formula, scale: float) -> bool:
    """Score all that wait, those with the most points first: their scores raise the threshold for the others."""
    state, k = best.state, len(best.scores)
    n_waiting, first = state[WAITING], np.int64(0)
    state[WAITING] = 0
    if n_waiting > k + k // 8:
        rows, points = best.waiting_rows, best.waiting_points
        middle = _kth_largest(points[:n_waiting], k)
        for number in range(n_waiting):
            if points[number] > middle:
                rows[first], rows[number] = rows[number], rows[first]
                points[first], points[number] = points[number], points[first]
                first += 1
        if not _score_waiting(best, 0, first, query, documents, formula, scale):
            return False
    return _score_waiting(best, first, n_waiting, query, documents, formula, scale)


@kernel
def _settle_known(best: Best, scale: float) -> None:
    """Do what `_settle` does where points are scores."""
    n_waiting, best.state[WAITING] = best.state[WAITING], 0
    for number in range(n_waiting):
        _keep(best, best.waiting_points[number] / scale, best.waiting_rows[number], scale)


@kernel
def _keep_known(best: Best) -> None:
    """Keep the best k of the waiting documents, whose points are their scores: of equal ones the earliest rows.

    Documents are met in the order of their rows, so that those to come need more points than the k-th has.
    """
    state, k = best.state, len(best.scores)
    if state[WAITING] < k:
        return
    rows, points = best.waiting_rows[: state[WAITING]], best.waiting_points[: state[WAITING]]
    middle = _kth_largest(points, k)
    better = np.int64(0)
    for number in range(len(points)):
        better += points[number] > middle
    tied = rows[points == middle]
    last = np.partition(tied, k - better - 1)[k - better - 1] if len(tied) > k - better else np.int64(1 << 62)
    kept = 0
    for number in range(len(points)):
        if points[number] > middle or (points[number] == middle and rows[number] <= last):
            rows[kept], points[kept] = rows[number], points[number]
            kept += 1
    state[WAITING] = kept
    state[THRESHOLD] = max(state[THRESHOLD], middle)


@kernel
def _hope(best: Best) -> None:
    """Raise the threshold to what the k-th best points promise, and drop what does not reach it."""
    state, k = best.state, len(best.scores)
    if state[WAITING] < k or state[MARGIN] < 0:
        return
    points = best.waiting_points[: state[WAITING]]
    hoped = _kth_largest(points, k) - state[MARGIN]
    if hoped > state[THRESHOLD]:
        state[THRESHOLD] = state[HOPED] = hoped
    kept = 0
    for number in range(len(points)):
        if np.int64(points[number]) > state[THRESHOLD]:
            best.waiting_rows[kept], best.waiting_points[kept] = best.waiting_rows[number], points[number]
            kept += 1
    state[WAITING] = kept


@kernel
def _guess(sums: Array, width: int, best: Best) -> None:
    """Raise the threshold from nothing to what the first documents of the first window promise.

    Without it, most documents of the window would have to wait before the threshold has risen.
    """
    state, k = best.state, len(best.scores)
    sample = min(width, max(FIRST_SAMPLE, 16 * k))
    if state[MARGIN] < 0 or sample < 4 * k:
        return
    middle = _kth_largest(sums[:sample], k)
    if state[KNOWN]:
        state[THRESHOLD] = max(0, middle - 1)  # not the points themselves: documents with as many may be among the best
    else:
        state[THRESHOLD] = state[HOPED] = max(0, middle - state[MARGIN])


@kernel
def _make_room(best: Best, query: Query, documents: Documents, formula: Formula, scale: float) -> bool:
    """Drop or score documents that wait, where there is no place for another; False for damage."""
    state = best.state
    if state[KNOWN]:
        _keep_known(best)
        return True
    _hope(best)
    return 4 * state[WAITING] <= 3 * len(best.waiting_rows) or _settle(best, query, documents, formula, scale)


# --- Windows of documents ---------------------------------------------------------------------------------------------


class Postings(NamedTuple):
    """Lists of postings, cut into chunks where windows of documents begin; see `indexes.postings`.

    Attributes:
        starts: (n_lists + 1,) int64, where each list begins.
        chunk_starts: (n_lists + 1,) int64, its first chunk.
        windows: (n_chunks,) uint16, the window that a chunk lies in.
        sizes: (n_chunks,) uint16, its postings, minus 1.
        bounds: (n_chunks,) uint8, its largest value.
        rows: (n_postings,) uint16, rows within the window, ascending in each chunk.
        values: (n_postings,) uint8; empty where every posting has the value 1.
        dense_starts: (n_lists + 1,) int64, where the first column of each list begins; empty where there are none.
        dense: uint8, columns.
    """

    starts: Array
    chunk_starts: Array
    windows: Array
    sizes: Array
    bounds: Array
    rows: Array
    values: Array
    dense_starts: Array
    dense: Array


class Points(NamedTuple):
    """How many points a posting gives: what `points` in the head of this module is made of.

    Attributes:
        scale: points for a score of 1.
        tables: (n, 256) uint16, points by list of the query and stored value.
        bounds: (n, 256) uint16, most points of this or any lower value.
        order: (n,) int64, lists by the most that they can add, descending.
        factors: (n,) int64, points for a value of 256 in a column, rounded up.
        exact: whether points are scores.
    """

    scale: float
    tables: Array
    bounds: Array
    order: Array
    factors: Array
    exact: bool


@kernel
def _largest_parts(query: Query, postings: Postings, formula: Formula) -> Array:
    """Return the most that each list can add to a score, (n,) float64."""
    reached = np.empty(256)  # most that this or any lower value can be worth
    most = 0.0
    for value in range(256):
        most = max(most, formula.upper[value])
        reached[value] = most
    largest = np.empty(len(query.lists))
    for number in range(len(query.lists)):
        bound = 0.0
        for chunk in range(postings.chunk_starts[query.lists[number]], postings.chunk_starts[query.lists[number] + 1]):
            bound = max(bound, reached[postings.bounds[chunk]])
        largest[number] = bound * query.weights[number]
    return largest


@kernel
def _are_points_scores(query: Query, formula: Formula, total: float) -> bool:
    """Tell whether scores are sums of integers that 16 bits hold: overlaps, and impacts with integer weights."""
    if len(formula.lengths) or total > LARGEST_SUM:
        return False
    for weight in query.weights:
        if weight != np.floor(weight):
            return False
    return True


@kernel
def _order(query: Query, postings: Postings, largest: Array) -> Array:
    """Return the lists by the most that they can add, descending; where that is the same for all, by length, roughly.

    The last may be left unread, which pays most when they are long: a counting sort by the number of bits of the
    length is enough.
    """
    n_lists = len(largest)
    if largest.min() < largest.max():
        return np.argsort(-largest)
    bits = np.empty(n_lists, np.int64)
    places = np.zeros(65, np.int64)
    for number in range(n_lists):
        length = postings.starts[query.lists[number] + 1] - postings.starts[query.lists[number]]
        bits[number] = 0
        while length > 0:
            length >>= 1
            bits[number] += 1
        places[bits[number] + 1] += 1
    places = np.cumsum(places)
    order = np.empty(n_lists, np.int64)
    for number in range(n_lists):
        order[places[bits[number]]] = number
        places[bits[number]] += 1
    return order


@kernel
def _points(query: Query, postings: Postings, formula: Formula) -> tuple[Points, int]:
    """Choose the scale and fill the tables; returns the points and the largest error that they can have in sum."""
    n_lists = len(query.lists)
    largest = _largest_parts(query, postings, formula)
    total = largest.sum()
    exact = _are_points_scores(query, formula, total)
    # Rounding up adds at most 2 points for each list, and one more leaves room for inexact multiplication.
    scale = 1.0 if exact else (LARGEST_SUM - 3.0 * n_lists) / max(total, 1e-300)
    rounding = np.int64(0) if exact else np.int64(1)
    n_values = 256 if len(postings.values) or len(postings.dense_starts) else 2  # without values all are 1
    tables = np.zeros((n_lists, n_values), np.uint16)
    bounds = np.zeros((n_lists, n_values), np.uint16)
    error = np.int64(0)
    for number in range(n_lists):
        factor = scale * query.weights[number]
        running, widest = np.int64(0), np.int64(0)
        for value in range(n_values):
            # A value that this list does not hold may be worth more than its largest; it must still fit.
            points = np.int64(min(factor * formula.upper[value], scale * largest[number])) + rounding
            tables[number, value] = points
            running = max(running, points)
            bounds[number, value] = running
            widest = max(widest, points - np.int64(factor * formula.lower[value]))
        error += widest
    factors = np.empty(n_lists, np.int64)
    for number in range(n_lists):
        factors[number] = np.int64(np.ceil(256 * scale * query.weights[number]))
    order = _order(query, postings, largest)
    return Points(scale, tables, bounds, order, factors, exact), 0 if exact else error


@kernel
def _points_in_column(value: int, factor: int) -> int:
    """Return value * factor / 256, rounded up or a little more, in the steps that `_add_column` takes."""
    return value * (factor >> 8) + ((value * (factor & 255) + 255) >> 8)


@kernel
def _add_column(column: Array, factor: int, sums: Array) -> None:
    """Add the points of a column, as `_points_in_column` computes them."""
    upper, lower = np.uint16(factor >> 8), np.uint16(factor & 255)
    for local in range(len(column)):  # all in 16 bits: 32 documents an instruction
        value = np.uint16(column[local])
        fraction = np.uint16(value * lower + np.uint16(255))
        sums[local] += value * upper
        sums[local] += np.uint16(fraction >> 8)


@kernel
def _fetch(postings: Postings, begins: Array, ends: Array, first: int, last: int) -> int:
    """Ask for the postings of the chunks first, first + 1, ... last - 1 before they are needed.

    A query's chunks lie far apart in memory. Read one after the other each makes the processor wait for its beginning,
    asked for together they arrive together. The sum only keeps the compiler from leaving this out.
    """
    fetched = np.int64(0)
    for place in range(first, last):
        if begins[place] >= 0:
            for position in range(begins[place], min(ends[place], begins[place] + FETCHED), 32):
                fetched += postings.rows[position]
            if len(postings.values):
                for position in range(begins[place], min(ends[place], begins[place] + FETCHED), 64):
                    fetched += postings.values[position]
    return fetched


@kernel
def _add(rows: Array, values: Array, table: Array, sums: Array) -> None:
    """Add a chunk's points to the sums of its window. This loop is where searching spends its time."""
    for position in range(len(rows)):
        sums[np.uint64(rows[position])] += table[np.uint64(values[position])]


@kernel
def _add_constant(rows: Array, points: int, sums: Array) -> None:
    """Add the same points for each posting of a chunk."""
    for position in range(len(rows)):
        sums[np.uint64(rows[position])] += points


@kernel
def _any_above(sums: Array, first: int, threshold: int) -> bool:
    """Tell whether any of the STRIDE sums from `first` on is above the threshold."""
    stride = sums[first : first + STRIDE]
    limit, found = np.uint16(threshold), np.uint16(0)
    for local in range(STRIDE):  # a constant length, all 16 bits wide: 32 sums an instruction
        found |= np.uint16(stride[local] > limit)
    return found > 0


@kernel
def _flag_above(sums: Array, first: int, threshold: int, flags: Array) -> None:
    """Write to `flags`, (STRIDE,) bool, which of the sums from `first` on are above the threshold."""
    stride = sums[first : first + STRIDE]
    limit = np.uint16(threshold)
    for local in range(STRIDE):
        flags[local] = stride[local] > limit


@kernel
def _count_above(sums: Array, threshold: int) -> int:
    """Return how many of a window's sums are above the threshold."""
    limit, total = np.uint16(threshold), np.int64(0)
    for first in range(0, WINDOW, WINDOW // 2):
        half = sums[first : first + WINDOW // 2]
        count = np.uint16(0)  # half a window can be counted in 16 bits
        for local in range(WINDOW // 2):
            count += np.uint16(half[local] > limit)
        total += np.int64(count)
    return total


@kernel
def _score_near(
    sums: Array, base: int, width: int, missing: int, allowed: Array, best: Best,
    query: Query, documents: Documents, formula: Formula, scale: float,
) -> bool:  # fmt: skip
    """Score the window's documents that could pass the threshold with `missing` more points; False for damage."""
    state = best.state
    if state[KNOWN]:
        _settle_known(best, scale)
    elif not _settle(best, query, documents, formula, scale):
        return False
    flags = np.empty(STRIDE, np.bool_)
    words = flags.view(np.uint64)
    for stride in range(0, width, STRIDE):
        threshold = max(state[THRESHOLD] - missing, 0)
        if not _any_above(sums, stride, threshold):
            continue
        _flag_above(sums, stride, threshold, flags)
        for word in range(len(words)):
            if words[word] == 0:
                continue
            first = stride + 8 * word
            for local in range(first, min(first + 8, width)):
                points = np.int64(sums[local])
                if points > threshold and (len(allowed) == 0 or allowed[base + local]):
                    best.waiting_rows[state[WAITING]] = base + local
                    best.waiting_points[state[WAITING]] = min(points + missing, LARGEST_SUM)
                    state[WAITING] += 1
                    if state[WAITING] >= BATCH:
                        state[WAITING] = 0
                        if not _score_waiting(best, 0, BATCH, query, documents, formula, scale):
                            return False
    n_waiting, state[WAITING] = state[WAITING], 0
    return _score_waiting(best, 0, n_waiting, query, documents, formula, scale)


@kernel
def _collect(
    sums: Array, base: int, width: int, allowed: Array, best: Best,
    query: Query, documents: Documents, formula: Formula, scale: float,
) -> bool:  # fmt: skip
    """Let the window's documents with enough points wait; False for damage."""
    state, room = best.state, len(best.waiting_rows)
    flags = np.empty(STRIDE, np.bool_)
    words = flags.view(np.uint64)
    for stride in range(0, width, STRIDE):
        if not _any_above(sums, stride, state[THRESHOLD]):
            continue
        _flag_above(sums, stride, state[THRESHOLD], flags)
        for word in range(len(words)):
            if words[word] == 0:  # eight flags at a time
                continue
            first = stride + 8 * word
            for local in range(first, min(first + 8, width)):
                points, row = np.int64(sums[local]), base + local
                if points <= state[THRESHOLD] or (len(allowed) and not allowed[row]):
                    continue
                if state[WAITING] == room and not _make_room(best, query, documents, formula, scale):
                    return False
                best.waiting_rows[state[WAITING]], best.waiting_points[state[WAITING]] = row, points
                state[WAITING] += 1
    return True


@kernel
def _collect_listed(
    sums: Array, base: int, rows: Array, begins: Array, ends: Array, n_documents: int, allowed: Array, best: Best
) -> None:
    """Do what `_collect` does by reading the window's postings again, for which there must be room to wait.

    Clears the sums.
    """
    state = best.state
    for number in range(len(begins)):
        for position in range(begins[number], ends[number]):
            local = np.int64(rows[position])
            points, row = np.int64(sums[local]), base + local
            sums[local] = 0
            if points <= state[THRESHOLD] or row >= n_documents or (len(allowed) and not allowed[row]):
                continue
            best.waiting_rows[state[WAITING]], best.waiting_points[state[WAITING]] = row, points
            state[WAITING] += 1


@kernel
def _fit(query: Query, postings: Postings) -> bool:
    """Tell whether the query's lists lie inside the arrays."""
    for number in query.lists:
        if not (0 <= postings.starts[number] <= postings.starts[number + 1] <= len(postings.rows)):
            return False
        if not (0 <= postings.chunk_starts[number] <= postings.chunk_starts[number + 1] <= len(postings.windows)):
            return False
        if len(postings.dense_starts) and not (
            0 <= postings.dense_starts[number] <= postings.dense_starts[number + 1] <= len(postings.dense)
        ):
            return False
    return True


@kernel
def _search_windows(
    query: Query, postings: Postings, documents: Documents, formula: Formula, points: Points, allowed: Array,
    daring: float, best: Best, sums: Array, touched: Array,
) -> bool:  # fmt: skip
    """Go through all windows once; False for damage."""
    n_lists, n_documents, state = len(query.lists), len(documents.offsets) - 1, best.state
    chunks, positions, columns = np.empty(n_lists, np.int64), np.empty(n_lists, np.int64), np.zeros(n_lists, np.int64)
    has_columns = len(postings.dense_starts) > 0
    for number in range(n_lists):
        chunks[number] = postings.chunk_starts[query.lists[number]]
        positions[number] = postings.starts[query.lists[number]]
        if has_columns:
            columns[number] = postings.dense_starts[query.lists[number]]
    here, begins, ends = np.empty(n_lists, np.int64), np.empty(n_lists, np.int64), np.empty(n_lists, np.int64)
    adds, costs = np.empty(n_lists, np.int64), np.empty(n_lists, np.int64)
    look_up_cost = LOOK_UP_COST + LOOK_UP_COST_OF_BYTE * len(documents.content) // max(n_documents, 1)
    fetched = np.int64(0)
    promising = 1.0  # share of the threshold at which stopping to read has paid in the windows before
    for base in range(0, n_documents, WINDOW):
        window, width = base >> WINDOW_BITS, min(WINDOW, n_documents - base)
        n_here = missing = unread = 0
        for place in range(n_lists):
            number = points.order[place]
            chunk, end = chunks[number], postings.chunk_starts[query.lists[number] + 1]
            if chunk < end and np.int64(postings.windows[chunk]) == window:
                size = np.int64(postings.sizes[chunk]) + 1
                bound = min(np.int64(postings.bounds[chunk]), points.bounds.shape[1] - 1)
                here[n_here], begins[n_here] = number, positions[number]
                chunks[number] = chunk + 1
                adds[n_here], costs[n_here] = points.bounds[number, bound], size
                if has_columns and size * DENSE_SHARE >= width:
                    begins[n_here] = -1 - columns[number]
                    columns[number] += width
                    if columns[number] > postings.dense_starts[query.lists[number] + 1]:
                        return False
                    adds[n_here] = _points_in_column(bound, points.factors[number])
                    costs[n_here] = -(-width // COLUMN_SHARE)  # rounded up: then too much for `_collect_listed`
                else:
                    positions[number] += size
                    if positions[number] > postings.starts[query.lists[number] + 1]:
                        return False
                ends[n_here] = positions[number]
                missing += adds[n_here]
                unread += costs[n_here]
                n_here += 1
        threshold = np.int64(min(state[THRESHOLD] * daring, float(LARGEST_SUM)))
        if missing <= threshold or n_here == 0:
            continue
        total, stopped, fetched_to = unread, False, 0
        for place in range(n_here):
            if place > 0 and missing <= promising * threshold and unread > SCAN_COST:
                n_near = _count_above(sums, max(threshold - missing, 0))
                if n_near * look_up_cost < unread:
                    stopped = True
                    break
                promising = 0.9 * missing / threshold
            if place == fetched_to:
                fetched_to = min(place + CHUNKS_FETCHED, n_here)
                fetched += _fetch(postings, begins, ends, place, fetched_to)
            number, rows = here[place], postings.rows[max(begins[place], 0) : ends[place]]
            if begins[place] < 0:
                begin = -1 - begins[place]
                _add_column(postings.dense[begin : begin + width], points.factors[number], sums)
            elif len(postings.values):
                _add(rows, postings.values[begins[place] : ends[place]], points.tables[number], sums)
            else:
                _add_constant(rows, points.tables[number, 1], sums)
            missing -= adds[place]
            unread -= costs[place]
        touched[0] += total - unread
        if stopped:
            promising = min(1.0, 1.05 * promising)
            missing += np.int64(state[THRESHOLD]) - threshold  # nothing, unless the search dares to be approximate
            if not _score_near(sums, base, width, missing, allowed, best, query, documents, formula, points.scale):
                return False
        elif total * SPARSE_SHARE < width and total + state[WAITING] <= len(best.waiting_rows):
            _collect_listed(sums, base, postings.rows, begins[:n_here], ends[:n_here], n_documents, allowed, best)
            continue
        else:
            if base == 0 and state[THRESHOLD] == 0 and len(allowed) == 0:
                _guess(sums, width, best)
            if not _collect(sums, base, width, allowed, best, query, documents, formula, points.scale):
                return False
        sums[:] = 0
        if not state[KNOWN]:
            _hope(best)
        elif base == 0 or state[WAITING] >= 2 * len(best.scores):
            _keep_known(best)
    for number in range(n_lists):
        if positions[number] != postings.starts[query.lists[number] + 1]:  # chunks that contradict the lists
            return False
        if has_columns and columns[number] != postings.dense_starts[query.lists[number] + 1]:
            return False
    if fetched < 0:  # never; the compiler does not know
        return False
    if state[KNOWN]:
        _keep_known(best)
        _settle_known(best, points.scale)
        return True
    _hope(best)
    return _settle(best, query, documents, formula, points.scale)


@kernel
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
    points, error = _points(query, postings, formula)
    state[THRESHOLD] = max(0, np.int64(min(points.scale * floor, LARGEST_SUM + 1.0)) - 1)
    # Few lists: the largest possible error. Many: errors do not all meet in one document.
    state[MARGIN] = (error if len(query.lists) <= 4 else error // 4) + len(query.lists) + 2
    state[KNOWN] = points.exact
    for _ in range(2):
        if not _search_windows(query, postings, documents, formula, points, allowed, daring, best, sums, touched):
            sums[:] = 0
            return DAMAGED
        if state[N_UNREAD] > 0:
            return UNREAD
        full = state[SIZE] == len(best.scores)
        certain = max(np.int64(points.scale * best.scores[0]) - 1, 0) if full else 0
        if state[HOPED] <= certain:
            break
        # Something that was dropped might be better than the last: once more, hoping for nothing.
        state[:] = 0
        state[THRESHOLD] = max(0, np.int64(min(points.scale * floor, LARGEST_SUM + 1.0)) - 1, certain)
        state[MARGIN] = -1
        state[KNOWN] = points.exact
    _sort(best.scores, best.rows, state[SIZE])
    return state[SIZE]


@kernel
def search(
    bounds: Array, lists: Array, weights: Array, postings: Postings, documents: Documents, formula: Formula,
    allowed: Array, floors: Array, daring: float, scores: Array, rows: Array, counts: Array, unread: Array,
    touched: Array,
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
        counts: (n_queries,) int64, output: how many were found. Queries whose count is not `UNREAD` are answered already.
        unread: (n,) int64, output: documents to compare with their checksums, behind them -1.
        touched: (1,) int64, how many postings were added up, is added to.

    Returns:
        0; `DAMAGED` where a list is not what it should be; `UNREAD` where documents in `unread` must be compared with
        their checksums before the queries with that count can be answered.
    """
    k = scores.shape[1]
    sums = np.zeros(WINDOW, np.uint16)
    waiting_rows, waiting_points = np.empty(4 * k + 256, np.int64), np.empty(4 * k + 256, np.uint16)
    state = np.zeros(N_STATE, np.int64)
    n_unread = 0
    for number in range(len(counts)):
        if counts[number] != UNREAD:
            continue
        query = Query(lists[bounds[number] : bounds[number + 1]], weights[bounds[number] : bounds[number + 1]])
        best = Best(scores[number], rows[number], waiting_rows, waiting_points, unread[n_unread:], state)
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


MOST_LISTS = 1 << 12
"""Lists of a query that `search` takes: their points must leave room for one another in 16 bits."""


@kernel
def score_all(query: Query, documents: Documents, formula: Formula, rows: Array, scores: Array) -> bool:
    """Write the score of each of `rows`, (n,) int64, to `scores`, (n,) float64; False where a list is damaged."""
    for number in range(len(rows)):
        scores[number] = _score_document(query, documents, formula, rows[number])
        if scores[number] < 0:
            return False
    return True
