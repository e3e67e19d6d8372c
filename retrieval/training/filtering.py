"""Ranking-consistency filtering: pairs whose positive a reference encoder does not find are taken for wrong.

KaLM-Embedding (arXiv 2501.01028; HITsz-TMG/KaLM-Embedding, train/hn_mine.py: a sample goes when
`pos_score < scores[k]`, k = 50).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrieval.training.ranking import Ranking


def consistent(
    rankings: Sequence[Ranking],
    queries: np.ndarray,
    passages: np.ndarray,
    positives: Sequence[Sequence[int]],
    *,
    k: int = 50,
) -> np.ndarray:
    """Tell which queries have a positive that scores at least as high as the passage at rank k (from 0) of the pool.

    What a smaller k keeps, a larger one keeps, too. Where the pool has k passages or fewer, everything is kept.

    Args:
        rankings: one for each query, at least k + 1 deep where the pool is.
        queries: (n_queries, d) vectors that the rankings come from.
        passages: (n_passages, d).
        positives: rows of each query's positives in the pool.
        k: see above.

    Returns:
        (n_queries,) bool.
    """
    keep = np.ones(len(rankings), bool)
    for number, (ranking, own) in enumerate(zip(rankings, positives, strict=True)):
        if len(ranking.scores) <= k:
            continue
        within = bool(np.isin(own, ranking.rows[: k + 1]).any())
        # A positive beyond rank k that ties with the passage there counts as consistent, too.
        best = float((passages[list(own)] @ queries[number]).max(initial=-np.inf))
        keep[number] = within or best >= float(ranking.scores[k])
    return keep
