"""Points: integers of 16 bits that bound scores from above, and the loops that add them up."""

from __future__ import annotations

import numpy as np

from indexes.compilation import inner_kernel
from indexes.kernels.sorting import sort_by
from indexes.kernels.views import LARGEST_SUM, Array, Formula, Points, Postings, Query, Search, Segment
from indexes.packing_kernels import whole

CHUNKS_FETCHED = 16
FETCHED = 2048
"""Chunks that are fetched from memory together, and how long they may be: the processor sees long ones coming."""


@inner_kernel
def largest_parts(query: Query, postings: Postings, formula: Formula, largest: Array) -> float:
    """Write the most that each list can add to a score to `largest`, (n,) float64; return the sum."""
    total = 0.0
    for number in range(len(query.lists)):
        bound = 0
        for chunk in range(postings.chunk_starts[query.lists[number]], postings.chunk_starts[query.lists[number] + 1]):
            bound = max(bound, whole(postings.bounds[chunk]))
        largest[number] = formula.reached[bound] * query.weights[number]
        total += largest[number]
    return total


@inner_kernel
def are_scores(weights: Array, formula: Formula, total: float) -> bool:
    """Tell whether scores are sums of integers that 16 bits hold: overlaps, and impacts with integer weights.

    Where a stored value stands for several impacts, it does not tell the score.
    """
    if len(formula.lengths) or formula.gap > 0 or total > LARGEST_SUM:
        return False
    fractions = 0
    for weight in weights:
        fractions += weight != np.floor(weight)
    return fractions == 0


@inner_kernel
def _order(query: Query, postings: Postings, largest: Array) -> Array:
    """Return the lists by the most that they can add, descending; where that is the same for all, by length, roughly.

    The last may be left unread, which pays most when they are long: a counting sort by the number of bits of the
    length is enough.
    """
    n_lists = len(largest)
    order = np.empty(n_lists, np.int64)
    if n_lists == 0:
        return order
    least, most = largest[0], largest[0]
    for number in range(n_lists):
        least, most = min(least, largest[number]), max(most, largest[number])
    if least < most:
        for number in range(n_lists):
            order[number] = number
        sort_by(largest.view(np.uint64), order, np.empty(n_lists, np.int64), 0)
        return order[::-1].copy()
    bits = np.empty(n_lists, np.int64)
    places = np.zeros(65, np.int64)
    for number in range(n_lists):
        length = postings.starts[query.lists[number] + 1] - postings.starts[query.lists[number]]
        bits[number] = 0
        while length > 0:
            length >>= 1
            bits[number] += 1
        places[bits[number] + 1] += 1
    for bit in range(64):
        places[bit + 1] += places[bit]
    for number in range(n_lists):
        order[places[bits[number]]] = number
        places[bits[number]] += 1
    return order


@inner_kernel
def points_of(segment: Segment, scale: float, exact: bool, without_tables: bool) -> Points:
    """Fill the tables for a scale under which the sum of all lists' largest parts has room in 16 bits."""
    query, postings, formula = segment.query, segment.postings, segment.formula
    n_lists = 0 if without_tables else len(query.lists)
    rounding = 0 if exact else 1
    n_values = 256 if len(postings.values) or len(postings.dense_starts) else 2  # without values all are 1
    tables = np.empty((n_lists, n_values), np.uint16)
    for number in range(n_lists):
        table, factor = tables[number], scale * query.weights[number]
        # A value that this list does not hold may be worth more than its largest; it must still fit.
        most = scale * segment.largest[number]
        for value in range(n_values):
            table[value] = np.int32(min(factor * formula.upper[value], most)) + rounding
    factors = np.zeros(n_lists, np.int64)
    if len(postings.dense_starts):
        for number in range(n_lists):
            factors[number] = whole(np.ceil(256 * scale * query.weights[number]))
    return Points(scale, exact, tables, _order(query, postings, segment.largest[:n_lists]), factors)


@inner_kernel
def bound_of(search: Search, number: int, value: int) -> int:
    """Return the most points that a posting of a list with this or any lower value gives."""
    points, segment = search.points, search.segment
    reached = points.scale * segment.query.weights[number] * segment.formula.reached[value]
    return whole(min(reached, points.scale * segment.largest[number])) + (0 if points.exact else 1)


@inner_kernel
def points_in_column(value: int, factor: int) -> int:
    """Return value * factor / 256, rounded up or a little more, in the steps that `add_column` takes."""
    return value * (factor >> 8) + ((value * (factor & 255) + 255) >> 8)


@inner_kernel
def add_column(column: Array, factor: int, sums: Array) -> None:
    """Add the points of a column, as `points_in_column` computes them."""
    upper, lower = np.uint16(factor >> 8), np.uint16(factor & 255)
    for local in range(len(column)):  # all in 16 bits: 32 documents an instruction
        value = np.uint16(column[local])
        fraction = np.uint16(value * lower + np.uint16(255))
        sums[local] += value * upper
        sums[local] += np.uint16(fraction >> 8)


@inner_kernel
def fetch(postings: Postings, begins: Array, ends: Array, first: int, last: int) -> int:
    """Ask for the postings of the chunks first, first + 1, ... last - 1 before they are needed.

    A query's chunks lie far apart in memory. Short ones, read one after the other, each make the processor wait; asked
    for together they arrive together. The sum only keeps the compiler from leaving this out.
    """
    fetched = whole(0)
    for place in range(first, last):
        if begins[place] < 0 or ends[place] - begins[place] > FETCHED:
            continue
        for position in range(begins[place], ends[place], 32):
            fetched += postings.rows[position]
        if len(postings.values):
            for position in range(begins[place], ends[place], 64):
                fetched += postings.values[position]
    return fetched


@inner_kernel
def add(rows: Array, values: Array, table: Array, sums: Array) -> None:
    """Add a chunk's points to the sums of its window. This loop is where searching spends its time."""
    for position in range(len(rows)):
        sums[np.uint64(rows[position])] += table[np.uint64(values[position])]


@inner_kernel
def add_constant(rows: Array, points: int, sums: Array) -> None:
    """Add the same points for each posting of a chunk."""
    for position in range(len(rows)):
        sums[np.uint64(rows[position])] += points
