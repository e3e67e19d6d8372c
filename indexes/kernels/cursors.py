"""Where a search has come to in its lists, and the chunks of the window that it is at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from indexes.compilation import inner_kernel
from indexes.kernels.points import bound_of, points_in_column
from indexes.kernels.views import Array, Postings, Query, Search
from indexes.packing_kernels import whole
from indexes.postings import DENSE_SHARE

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
def fit(query: Query, postings: Postings) -> bool:
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
def cursors_of(query: Query, postings: Postings) -> Cursors:
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
def enter(search: Search, cursors: Cursors, window: int, width: int) -> int:
    """Go to the chunks of a window; return how many there are, -1 where chunks go beyond their list."""
    query, postings, points = search.segment.query, search.segment.postings, search.points
    n_here = 0
    for place in range(len(query.lists)):
        number = points.order[place]
        chunk, following = cursors.chunks[number], query.lists[number] + 1
        if chunk == postings.chunk_starts[following] or whole(postings.windows[chunk]) != window:
            continue
        size = whole(postings.sizes[chunk]) + 1
        bound = min(whole(postings.bounds[chunk]), points.tables.shape[1] - 1)
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
            cursors.adds[n_here] = bound_of(search, number, bound)
            cursors.costs[n_here] = size
            if cursors.positions[number] > postings.starts[following]:
                return -1
        cursors.ends[n_here] = cursors.positions[number]
        n_here += 1
    return n_here


@inner_kernel
def have_ended(query: Query, postings: Postings, cursors: Cursors) -> bool:
    """Tell whether the chunks have led to the end of each list, and not to another place."""
    wrong = 0
    for number in range(len(query.lists)):
        following = query.lists[number] + 1
        wrong += cursors.chunks[number] != postings.chunk_starts[following]
        wrong += cursors.positions[number] != postings.starts[following]
        if len(postings.dense_starts):
            wrong += cursors.columns[number] != postings.dense_starts[following]
    return wrong == 0
