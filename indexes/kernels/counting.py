"""Counting in bytes, where every posting adds one point: overlaps of binary vectors with queries of many dimensions.

A window of 65,536 documents takes 64 KiB in bytes rather than 128 in points of 16 bits, so that more of it stays in the
processor's first cache. A byte counts 255 lists; after so many it is added to the points and begins anew.
"""

from __future__ import annotations

import numpy as np

from indexes.compilation import inner_kernel
from indexes.kernels.cursors import Cursors
from indexes.kernels.prefetching import ROWS_IN_LINE, prefetch
from indexes.kernels.views import WINDOW, Array, Search

MOST_COUNTED = 255

WORTH = 1 << 15
"""Postings of `MOST_COUNTED` lists from which on clearing the bytes and adding them to the points pays."""


@inner_kernel
def n_countable(search: Search, cursors: Cursors, n_here: int, missing: int, limit: float) -> int:
    """Return how many of a window's chunks, from the first on, are to be counted in bytes; 0 where it does not pay.

    Args:
        search: the search.
        cursors: at the window.
        n_here: how many chunks there are.
        missing: how many points they can add together.
        limit: when no more than these are missing, the search looks at the sums: it must have them.
    """
    postings = search.segment.postings
    if len(postings.values) or len(postings.dense_starts):
        return 0
    n_counted, n_postings = 0, 0
    while n_counted < n_here and missing - n_counted > limit:
        if search.points.tables[cursors.here[n_counted], 1] != 1 or cursors.adds[n_counted] != 1:
            break
        n_postings += cursors.costs[n_counted]
        n_counted += 1
    return n_counted if n_postings * MOST_COUNTED >= n_counted * WORTH and n_postings >= WORTH else 0


@inner_kernel
def count(rows: Array, begins: Array, ends: Array, sums: Array) -> None:
    """Add one point for each posting of the chunks begins[0]:ends[0], begins[1]:ends[1] and so on of a window."""
    counts = np.empty(WINDOW, np.uint8)  # also where there are fewer documents: so no row leads out of it
    for first in range(0, len(begins), MOST_COUNTED):
        counts[: len(sums)] = 0
        for place in range(first, min(first + MOST_COUNTED, len(begins))):
            following = min(place + 1, len(begins) - 1)
            begin, ahead = begins[place], begins[following]
            # Chunks lie far apart in memory: while one is counted, the next is fetched, a line for every line.
            while begin + ROWS_IN_LINE <= ends[place]:
                if ahead < ends[following]:
                    prefetch(rows, ahead)
                    ahead += ROWS_IN_LINE
                line = rows[begin : begin + ROWS_IN_LINE]
                for position in range(ROWS_IN_LINE):  # a constant length, so that it is unrolled
                    counts[np.uint64(line[position])] += np.uint8(1)
                begin += ROWS_IN_LINE
            while ahead < ends[following]:
                prefetch(rows, ahead)
                ahead += ROWS_IN_LINE
            for position in range(begin, ends[place]):
                counts[np.uint64(rows[position])] += np.uint8(1)
        for local in range(len(sums)):
            sums[local] += np.uint16(counts[local])
