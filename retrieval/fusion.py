"""Fusing the ranked lists of several retrievers into one: reciprocal rank fusion, or weighted normalised scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexes.hits import Hits, select_top
from retrieval.collection.settings import Fusion


def fuse(lists: Sequence[Hits], weights: Sequence[float], fusion: Fusion, k: int) -> Hits:
    """Return the best k documents of several lists, each document once.

    Args:
        lists: one list a retriever, best first, documents distinct within a list.
        weights: one weight a list, at least 0.
        fusion: the method and its constants; of each list the first `fusion.depth` count.
        k: how many at most.

    Ties are broken by sequence number, as everywhere.
    """
    cut = [hits.cut(fusion.depth) for hits in lists]
    contributions = [
        weight * (reciprocal_ranks(len(hits.rows), fusion.constant) if fusion.method == "rrf" else min_max(hits.scores))
        for hits, weight in zip(cut, weights, strict=True)
    ]
    segments, rows, sequences = (
        np.concatenate([getattr(hits, name) for hits in cut]) for name in ("segments", "rows", "sequences")
    )
    # A document's sequence number is its own: the key to add up by, and the tie-breaker. `np.unique` sorts by it, and
    # `np.add.at` adds in list order, so that the sum does not depend on anything else.
    unique, first, inverse = np.unique(sequences, return_index=True, return_inverse=True)
    scores = np.zeros(len(unique))
    np.add.at(scores, inverse, np.concatenate(contributions))
    places, best = select_top(scores, np.arange(len(unique)), k)
    chosen = first[places]
    return Hits(segments[chosen], rows[chosen], best, sequences[chosen])


def reciprocal_ranks(n: int, constant: int) -> np.ndarray:
    """Return 1 / (constant + rank) for ranks 1 to n, (n,) float64 (Cormack, Clarke & Büttcher 2009)."""
    return 1.0 / (constant + np.arange(1, n + 1, dtype=np.float64))


def min_max(scores: np.ndarray) -> np.ndarray:
    """Scale scores to [0, 1], best 1 and worst 0; all 1 where they are all equal.

    Args:
        scores: (n,) float64.
    """
    if not len(scores):
        return scores
    worst = scores.min()
    span = scores.max() - worst
    return (scores - worst) / span if span > 0 else np.ones_like(scores)


def z_scores(scores: np.ndarray) -> np.ndarray:
    """Shift and scale scores to mean 0 and variance 1, (n,) float64; all 0 where they are all equal."""
    if not len(scores):
        return scores
    deviation = scores.std()
    # Of equal scores the mean may be off by rounding, and a deviation of rounding would blow that up.
    return (scores - scores.mean()) / deviation if np.ptp(scores) > 0 and deviation > 0 else np.zeros_like(scores)
