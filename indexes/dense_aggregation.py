"""Exact dense search where a document's score is not its best passage's but an aggregate over all of them.

As in `indexes.dense_batch`, a float32 product gives every passage an approximate score with a known error; only
documents that this error leaves in the running get the exact scores of `indexes.dense_scoring`, aggregated. Scores and
order depend on the vectors alone: not on segments, batches or other documents.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexes.aggregation import Aggregation
from indexes.compilation import read_only
from indexes.dense import DenseSegment
from indexes.dense_batch import error_bound
from indexes.errors import VectorError
from indexes.hits import Hits
from indexes.vectors import check_vectors, norms

_SCORES_BYTES = 64 << 20
"""Approximate scores of all passages that are held at once."""


def search_aggregated(
    segments: Sequence[DenseSegment],
    queries: np.ndarray,
    k: int,
    aggregation: Aggregation,
    masks: Sequence[np.ndarray | None] | None = None,
) -> list[Hits]:
    """Return the k documents of highest aggregate score for each query: of all documents, over all their passages.

    Memory grows with the number of passages: four bytes of each for one query, some dozens where passages are ranked.

    Args:
        segments: what to search, all of one dimension.
        queries: (n_queries, d); `normalise` them before where the similarity is "cosine".
        k: how many documents at most.
        aggregation: from the scores of passages to that of their document.
        masks: for each segment which documents may be returned, (n_documents,) bool; None = all that are alive.

    Raises:
        VectorError: queries or masks that do not fit.
    """
    checked = check_vectors(queries, segments[0].store.dimension if segments else None)
    masks = [None] * len(segments) if masks is None else masks
    if len(masks) != len(segments):
        raise VectorError(f"{len(segments)} segments need as many masks (None for all documents), got {len(masks)}")
    sides = [_Side(*each) for each in zip(range(len(segments)), segments, masks, strict=True)]
    n_passages = sum(segment.store.n_passages for segment in segments)
    size = max(1, _SCORES_BYTES // (4 * max(n_passages, 1)))
    hits: list[Hits] = []
    for start in range(0, len(checked), size):
        batch = checked[start : start + size]
        lengths = norms(batch)
        units = (batch / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
        approximate = [side.segment.store.vectors @ units.T for side in sides]  # (n_passages, n_batch) each
        hits += [
            _best(sides, batch[number], [scores[:, number] for scores in approximate], k, aggregation)
            for number in range(len(batch))
        ]
    return hits


def score_aggregated(
    segments: Sequence[DenseSegment], query: np.ndarray, candidates: Hits, k: int, aggregation: Aggregation
) -> Hits:
    """Return the best k of given documents by their aggregate scores, over all passages of each, exactly.

    Args:
        segments: what was searched.
        query: (d,), prepared as for the search.
        candidates: documents, in any order.
        k: how many at most.
        aggregation: see `search_aggregated`.
    """
    vector = check_vectors(np.atleast_2d(query), segments[0].store.dimension if segments else None)[0]
    parts = []
    for number in np.unique(candidates.segments).tolist():
        rows = np.sort(candidates.rows[candidates.segments == number])
        parts.append(_scored(number, segments[number], rows, vector, aggregation))
    return _top(parts, k)


def passage_scores(segment: DenseSegment, row: int, query: np.ndarray) -> tuple[int, np.ndarray]:
    """Return where a document's passages begin in the store, and the exact score of each, (m,) float64."""
    from indexes.dense_scoring import score_rows

    start, stop = segment.store.passages_of(row)
    vector = check_vectors(np.atleast_2d(query), segment.store.dimension)[0]
    vectors = read_only(np.ascontiguousarray(segment.store.vectors, np.float32))
    return start, score_rows(vectors, np.arange(start, stop), read_only(vector))


class _Side:
    """A segment with the documents that may be returned of it.

    Attributes:
        number: the segment's.
        segment: itself.
        rows: (n,) int64, documents that have passages, ascending.
        firsts: (n,) int64, where their passages begin.
        allowed: (n,) bool, which of them may be returned.
    """

    def __init__(self, number: int, segment: DenseSegment, mask: np.ndarray | None) -> None:
        self.number, self.segment = number, segment
        of_passages = np.asarray(segment.store.rows)
        starts = np.flatnonzero(np.diff(of_passages, prepend=-1))
        self.rows, self.firsts = of_passages[starts].astype(np.int64), starts
        allowed = segment.allowed(mask)
        self.allowed = np.ones(len(starts), bool) if allowed is None else allowed[self.rows]


def _best(
    sides: Sequence[_Side], query: np.ndarray, approximate: Sequence[np.ndarray], k: int, aggregation: Aggregation
) -> Hits:
    """Return the best documents for one query, from the approximate scores of all passages."""
    if k < 1 or not sides:
        return Hits.empty()
    estimates, errors = [], []
    for side, scores in zip(sides, approximate, strict=True):
        longest = int(np.diff(side.firsts, append=len(scores)).max(initial=0))
        estimates.append(aggregation.of_documents(scores, side.firsts)[side.allowed])
        errors.append(error_bound(side.segment.store) * aggregation.gain(longest))
    certain = np.concatenate([estimate - error for estimate, error in zip(estimates, errors, strict=True)])
    # The k-th best is at least this good, so that no document below it can be among the best k.
    bar = np.partition(certain, len(certain) - k)[len(certain) - k] if len(certain) > k else -np.inf
    parts = []
    for side, estimate, error in zip(sides, estimates, errors, strict=True):
        rows = side.rows[side.allowed][estimate + error >= bar]
        parts.append(_scored(side.number, side.segment, rows, query, aggregation))
    return _top(parts, k)


def _scored(number: int, segment: DenseSegment, rows: np.ndarray, query: np.ndarray, aggregation: Aggregation) -> Hits:
    """Return documents of one segment with their exact scores, in the order of their rows."""
    from indexes.dense_scoring import score_rows

    bounds = [segment.store.passages_of(row) for row in rows.tolist()]
    if any(start == stop for start, stop in bounds):
        raise VectorError("a document without vectors has no score")
    positions = np.concatenate([np.empty(0, np.int64), *(np.arange(start, stop) for start, stop in bounds)])
    scores = score_rows(read_only(np.ascontiguousarray(segment.store.vectors, np.float32)), positions, read_only(query))
    firsts = np.cumsum([0, *(stop - start for start, stop in bounds)])[:-1]
    return Hits.of_segment(number, rows, aggregation.of_documents(scores, firsts), segment.sequences)


def _top(parts: Sequence[Hits], k: int) -> Hits:
    if not parts:
        return Hits.empty()
    segments, rows, scores, sequences = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((sequences, -scores))[: max(k, 0)]
    return Hits(segments[order], rows[order], scores[order], sequences[order])
