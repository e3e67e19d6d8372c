"""What a search works on: files as arrays, the query, and the state of the search."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from indexes.postings import WINDOW_BITS

Array = np.ndarray

WINDOW = 1 << WINDOW_BITS
"""Documents whose points are added up at a time."""

LARGEST_SUM = (1 << 16) - 1
"""No document may have more points."""

MOST_LISTS = 1 << 12
"""Lists of a query that `search` takes: their points must leave room for one another in 16 bits. Longer queries are
answered by scoring every document, which takes much longer."""

DAMAGED = -1
"""In place of a count: what was read cannot be what was written."""

UNREAD = -2
"""In place of a count: lists must be compared with their checksums first, and the query run again."""


class Query(NamedTuple):
    """A query's lists.

    Attributes:
        lists: (n,) int64, ascending: the order in which a document's score is added up.
        weights: (n,) float64, positive.
    """

    lists: Array
    weights: Array


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
        upper: (256,) float64, most that a posting with this stored value can be worth; where there are no lengths,
            exactly what it is worth.
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


class Points(NamedTuple):
    """How many points a posting gives; see the head of `indexes.kernels`.

    Attributes:
        scale: points for a score of 1.
        tables: (n, 256) uint16, points by list of the query and stored value.
        bounds: (n, 256) uint16, most points of this or any lower value.
        order: (n,) int64, lists by the most that they can add, descending.
        factors: (n,) int64, points for a value of 256 in a column, rounded up; used only where there are columns.
        exact: whether points are scores.
    """

    scale: float
    tables: Array
    bounds: Array
    order: Array
    factors: Array
    exact: bool


class Best(NamedTuple):
    """The best documents so far.

    Attributes:
        scores: (k,) float64, a heap with the worst at its root.
        rows: (k,) int64.
        waiting_rows: (4 * k + 256,) int64, documents that are only bounded.
        waiting_points: the same size, uint16, their points.
        waiting_scores: the same size, float64, their scores, -1 where nobody knows yet.
        unread: (n,) int64, documents whose lists must be compared with their checksums before they can be scored.
        state: (N_STATE,) int64, see `SIZE` and the following.
        luck: (4,) int64, what searches have learnt about this segment, see `GUESSED` and the following.
    """

    scores: Array
    rows: Array
    waiting_rows: Array
    waiting_points: Array
    waiting_scores: Array
    unread: Array
    state: Array
    luck: Array


SIZE, WAITING, THRESHOLD, HOPED, N_UNREAD, MARGIN, KNOWN, HAS_GUESSED, N_ROOMS = range(9)
"""Places in `Best.state`: how many documents are in the heap, and how many wait; the threshold: documents with no more
points are not needed; the largest threshold that was only hoped for; how many documents are unread; by how much points
must fall short of the k-th best for a document to be dropped, below 0 where nothing may be hoped for; whether points
are scores; whether the first threshold was guessed; how often waiting documents had to make room."""

N_STATE = 9

GUESSED, FAILED, SEARCHED, REPEATED = range(4)
"""Places in `Best.luck`: how often the first threshold was guessed, and how often the search had to run again then;
how often it ran without a guess, and how often it had to run again then."""


class Search(NamedTuple):
    """One query in one segment.

    Attributes:
        query: the query.
        postings: the segment's.
        documents: the segment's.
        formula: what postings are worth.
        points: how many points they give.
        allowed: (n_documents,) bool, which documents may be returned; empty allows all.
        daring: 1 searches exactly; a larger factor multiplies the threshold where lists are left unread.
        best: what was found.
        sums: (WINDOW,) uint16, the points of the window's documents.
    """

    query: Query
    postings: Postings
    documents: Documents
    formula: Formula
    points: Points
    allowed: Array
    daring: float
    best: Best
    sums: Array
