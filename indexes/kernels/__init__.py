"""The loops that search postings, compiled by numba. Import inside functions only: this loads numba.

Read in this order: `views` and `segments` (what a search works on), `points` (bounds of scores, added up), `counting`
(the same in bytes, where all add one), `exact` (scores), `waiting` and `settling` (the documents that may be among the
best k, and how they get their scores), `collecting` (from a window's sums to such documents), `rescoring` (their scores
where they are many), `windows` (the search of a segment), `search` (the whole search).

A query's lists are added up window by window (range-partitioned accumulation, the way of Lucene's BooleanScorer), and
what is added are small integers that bound a document's score from above:

    points(d) = sum over the lists that hold d of (floor(scale * weight * upper[value]) + 1)  >=  scale * score(d)

`upper[value]` bounds what the stored value of a posting (one byte) can be worth, see `indexes.frequency_classes`, and
`scale` is chosen so that no sum exceeds 16 bits: a window of 65,536 documents then takes 128 KiB, rows inside it are 16
bits as well, so that no damaged number can leave it, and vector instructions compare 32 documents at a time. Columns of
impacts (see `indexes.postings`) are added in the same integers, each product rounded up.

Documents whose points exceed the threshold wait, those of all segments together, and are scored exactly, in float64 and
in the order of the terms, from their own lists of terms (`indexes.documents`) or, where a window has many of them, from
its postings. Nothing that is returned depends on points, windows, segments or threads. Where scores are sums of
integers anyway (overlaps of binary vectors, impacts under integer weights) points are the scores, and no document is
looked at again.

Three things keep the work small, and none of them can change the result:

1. Within a window the lists that can add most come first. When those that remain could no longer lift a document that
   has none of the others over the threshold, and few documents are near it, the remaining lists are not read: the few
   are scored exactly (MaxScore: Turtle & Flood, "Query evaluation: strategies and optimizations", 1995, with its choice
   between reading and looking up made by cost in each window).
2. A window whose lists together cannot exceed the threshold is passed over (block-max pruning: Ding & Suel, "Faster
   top-k document retrieval using block-max indexes", SIGIR 2011; the blocks are a list's postings in a window).
3. While documents are only bounded, the k-th best points serve as threshold, hoping that points are close to scores;
   the first threshold is guessed from the first documents, hoping that the others are like them.
   At the end the k-th best exact score must exceed that threshold; then nothing that was dropped can be better than it.
   Where it does not, the search runs once more with the k-th exact score as the threshold, which is certain.

A search that dares to be approximate multiplies the threshold in 1 and 2 by a factor: what it returns has its exact
scores, but something better may be missing.

What is read from files is checked before it is used as a position: a kernel reports damage instead of touching memory
that is not its own, whatever a file holds.
"""

from __future__ import annotations

from indexes.kernels.exact import score_all
from indexes.kernels.search import search
from indexes.kernels.views import DAMAGED, UNREAD

__all__ = ["DAMAGED", "UNREAD", "score_all", "search"]
