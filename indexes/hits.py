"""The result contract in numbers: which rows of which segments, best first.

Every index answers a query with `Hits`. They are ordered by score descending and, where scores tie, by the document's
sequence number ascending, so that the same documents come back in the same order whatever segments they lie in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_FEW = 256
"""Entries that are sorted at once faster than in steps."""


class Hits(NamedTuple):
    """The answer to one query, ordered by (score descending, sequence ascending); never padded, at most k entries.

    Attributes:
        segments: (k,) int32, position of the segment in the searched list.
        rows: (k,) int64, row of the document in its segment.
        scores: (k,) float64, finite, higher is better.
        sequences: (k,) int64, the documents' sequence numbers.
    """

    segments: np.ndarray
    rows: np.ndarray
    scores: np.ndarray
    sequences: np.ndarray

    @classmethod
    def empty(cls) -> Hits:
        """Return the answer that holds nothing."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.float64), np.empty(0, np.int64))

    @classmethod
    def of_segment(cls, segment: int, rows: np.ndarray, scores: np.ndarray, sequences: np.ndarray) -> Hits:
        """Wrap one segment's rows; `sequences` are those of the whole segment, indexed by row."""
        return cls(
            np.full(len(rows), segment, np.int32),
            rows.astype(np.int64, copy=False),
            scores.astype(np.float64, copy=False),
            np.asarray(sequences[rows], dtype=np.int64),
        )

    def cut(self, k: int) -> Hits:
        """Return the best k."""
        if k >= len(self.rows):
            return self
        return Hits(self.segments[:k], self.rows[:k], self.scores[:k], self.sequences[:k])


def merge_hits(parts: Sequence[Hits], k: int) -> Hits:
    """Merge the answers of several segments into the best k of all."""
    filled = [part for part in parts if len(part.rows)]
    if not filled or k <= 0:
        return Hits.empty()
    if len(filled) == 1:
        return filled[0].cut(k)
    segments, rows, scores, sequences = (np.concatenate(column) for column in zip(*filled, strict=True))
    order = _best_first(scores, sequences, k)
    return Hits(segments[order], rows[order], scores[order], sequences[order])


def _best_first(scores: np.ndarray, sequences: np.ndarray, k: int) -> np.ndarray:
    """Return the places of the k best in order, for scores that fall within each of a few parts."""
    falling = -scores
    if len(scores) <= _FEW:
        return np.lexsort((sequences, falling))[:k]
    # A stable sort merges runs that are in order already, and does not part equal scores of one part. Only where equal
    # scores of several parts are not yet in the order of the sequence numbers, these have to be sorted by as well.
    order = np.argsort(falling, kind="stable")
    if k < len(order):
        order = order[: np.searchsorted(falling[order], falling[order[k - 1]], side="right")]
    ranked, numbers = falling[order], sequences[order]
    if ((ranked[1:] == ranked[:-1]) & (numbers[1:] < numbers[:-1])).any():
        order = order[np.lexsort((numbers, ranked))]
    return order[:k]


def select_top(scores: np.ndarray, rows: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best of `rows` and their scores, ordered by (score descending, row ascending).

    Args:
        scores: (n,) scores of `rows`.
        rows: (n,) row numbers, in any order.
        k: how many at most.
    """
    if k <= 0:
        return rows[:0], scores[:0]
    if k < len(scores):
        # Partition first: sorting only what can be in the answer. Everything that ties with the k-th score stays in, so
        # that the tie is broken by row below and not by the partition.
        threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
        keep = np.flatnonzero(scores >= threshold)
        scores, rows = scores[keep], rows[keep]
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]
