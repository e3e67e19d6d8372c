"""What a search works on: files as arrays, the query, and the state of the search."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from indexes.kernel_arrays import DocumentArrays as Documents
from indexes.kernel_arrays import PostingArrays as Postings
from indexes.postings import WINDOW_BITS

Array = np.ndarray

WINDOW = 1 << WINDOW_BITS
"""Documents whose points are added up at a time."""

LARGEST_SUM = (1 << 16) - 1
"""No document may have more points."""

MOST_LISTS = 1 << 12
"""Lists of a query that `search` takes: their points must leave room for one another in 16 bits. Longer queries are
answered by scoring every document, which takes much longer."""

UNREAD = -1
"""In place of a count: lists must be compared with their checksums first, and the query run again."""

DAMAGED = -2
"""What was read cannot be what was written."""


class Query(NamedTuple):
    """A query's lists.

    Attributes:
        lists: (n,) int64, ascending: the order in which a document's score is added up.
        weights: (n,) float64, positive.
    """

    lists: Array
    weights: Array


class Formula(NamedTuple):
    """How much a posting is worth, before the list's weight.

    Attributes:
        upper: (256,) float64, most that a posting with this stored value can be worth.
        reached: (256,) float64, most that one with this or any lower value can be worth.
        frequencies: (256,) float64, the frequency of postings with this value; 0 where they may have several.
        lengths: (n_documents,) int32 where a frequency f is worth f / (f + norm) with the norm
            saturation * (1 - slope + slope * length / average) (BM25); empty where it is worth f.
        saturation: of the norm.
        slope: of the norm.
        average: of the lengths.
        gap: largest difference between the most and the least that a posting with one value can be worth.
    """

    upper: Array
    reached: Array
    frequencies: Array
    lengths: Array
    saturation: float
    slope: float
    average: float
    gap: float


class Segment(NamedTuple):
    """What is searched of one segment, for one query.

    Attributes:
        query: the lists that the segment holds.
        largest: (n_lists,) float64, the most that each of them can add to a score.
        postings: the segment's.
        documents: the segment's.
        formula: what postings are worth.
        allowed: (n_documents,) bool, which documents may be returned; empty allows all.
        are_few: whether these documents are few enough to be listed.
        candidates: (n,) int64, the list.
        sequences: (n_documents,) int64, ascending: equal scores are ordered by it.
    """

    query: Query
    largest: Array
    postings: Postings
    documents: Documents
    formula: Formula
    allowed: Array
    are_few: bool
    candidates: Array
    sequences: Array


class Segments(NamedTuple):
    """All segments, and one query as each of them sees it.

    Attributes:
        table: (n_segments, N_FIELDS) int64, addresses and lengths of their arrays; see `kernels.segments`.
        formulas: (n_segments, N_NUMBERS) float64.
        allowed: (n_segments, 5) int64, what may be returned; see `indexes.segment_table`.
        order: (n_segments,) int64, in which they are searched: the largest first, for it raises the threshold most.
        n_lists: (n_segments,) int64, lists of the query that a segment holds.
        lists: (n_segments, n) int64, their numbers, ascending.
        weights: (n_segments, n) float64, their weights.
        largest: (n_segments, n) float64, see `Segment.largest`.
    """

    table: Array
    formulas: Array
    allowed: Array
    order: Array
    n_lists: Array
    lists: Array
    weights: Array
    largest: Array


class Points(NamedTuple):
    """How many points a posting gives; see the head of `indexes.kernels`.

    Attributes:
        scale: points for a score of 1.
        exact: whether points are scores.
        tables: (n, 256) uint16, points by list of the query and stored value.
        order: (n,) int64, lists by the most that they can add, descending.
        factors: (n,) int64, points for a value of 256 in a column, rounded up; used only where there are columns.
    """

    scale: float
    exact: bool
    tables: Array
    order: Array
    factors: Array


class Waiting(NamedTuple):
    """The documents that may be among the best k of all segments.

    Attributes:
        k: how many are wanted.
        segments: (room,) int64, the segments that they lie in.
        rows: (room,) int64, their rows there.
        points: (room,) uint16, bounds of their scores.
        scores: (room,) float64; `CLOSE` or `LOOSE` where nobody knows yet.
        promises: (room,) uint16, scratch: points that are hoped for.
        order: (2, room) int64, scratch: for sorting.
        keys: (room,) int64, scratch: what is sorted by.
        batch: (BATCH,) int64, scratch: entries that are scored together.
        unread: (n, 2) int64, segments and rows of documents whose lists must be compared with their checksums before
            they can be scored.
        state: (N_STATE,) int64, see `WAITING` and the following.
        luck: (4,) int64, what searches have learnt about these segments, see `GUESSED` and the following.
    """

    k: int
    segments: Array
    rows: Array
    points: Array
    scores: Array
    promises: Array
    order: Array
    keys: Array
    batch: Array
    unread: Array
    state: Array
    luck: Array


WAITING, UNSCORED, THRESHOLD, LIMIT, HOPED, N_UNREAD, MARGIN, KNOWN, HAS_GUESSED, N_ROOMS, AT = range(11)
"""Places in `Waiting.state`: how many documents wait, and how many of them are without a score; the threshold:
documents with no more points are not needed; the same for the documents of the segment that are still to come, of which
also equal ones may be too late; the largest threshold that was only hoped for; how many documents are unread; by how
much a score may fall short of its points as far as is hoped, below 0 where nothing may be hoped for; whether points are
scores; whether the first threshold was guessed; how often documents had to make room; the segment that is searched."""

N_STATE = 11

GUESSED, FAILED, SEARCHED, REPEATED = range(4)
"""Places in `Waiting.luck`: how often the first threshold was guessed, and how often the search had to run again then;
how often it ran without a guess, and how often it had to run again then."""

CLOSE, LOOSE = -1.0, -2.0
"""In place of a score that nobody knows yet: its points are hoped to be close to it, or they are not."""

BATCH = 32
"""Documents whose lists are fetched from memory together, so that the waiting overlaps."""


class Search(NamedTuple):
    """One query in one segment.

    Attributes:
        number: of the segment.
        segment: what is searched.
        points: how many points its postings give.
        segments: all segments.
        waiting: what was found in all of them.
        daring: 1 searches exactly; a larger factor multiplies the threshold where lists are left unread.
        sums: (WINDOW,) uint16, the points of a window's documents.
    """

    number: int
    segment: Segment
    points: Points
    segments: Segments
    waiting: Waiting
    daring: float
    sums: Array
