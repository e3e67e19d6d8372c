"""Hard negatives from a window of ranks: near enough to teach something, not so near that they are unjudged positives.

KaLM-Embedding (arXiv 2501.01028; HITsz-TMG/KaLM-Embedding, train/hn_mine.py): seven drawn from ranks 50 to 100, short
lists filled up with random passages of the corpus. Its script's default window is 10 to 210.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from retrieval.errors import TrainingDataError
from retrieval.training.ranking import Ranking


def mine_negatives(
    rankings: Sequence[Ranking],
    queries: Sequence[str],
    positives: Sequence[Sequence[int]],
    passages: Sequence[str],
    *,
    n: int = 7,
    window: tuple[int, int] = (50, 100),
    seed: int = 0,
) -> list[np.ndarray]:
    """Draw hard negatives for each query from a window of its ranking.

    A query's positives are never drawn, nor a passage whose text equals the query's or a positive's. Where the window
    holds too few, random passages of the pool fill up.

    Args:
        rankings: of the pool, one for each query, as deep as the window.
        queries: texts.
        positives: rows of each query's positives in the pool.
        passages: texts of the pool.
        n: negatives for each query.
        window: first rank (from 0), and the rank behind the last.
        seed: of the draws; each query draws with a generator of its own, so that the others make no difference.

    Returns:
        Rows in the pool for each query, (n,) int64, without repetition; those of the window first.

    Raises:
        TrainingDataError: the window is empty, or the pool has not enough passages that are no positives.
    """
    low, high = window
    if not 0 <= low < high:
        raise TrainingDataError(
            f"the window of ranks {low} to {high} is empty; give (first rank, rank behind the last)"
        )
    mined = []
    for number, (ranking, query, own) in enumerate(zip(rankings, queries, positives, strict=True)):
        generator = np.random.default_rng([seed, number])
        texts = {query.strip(), *(passages[row].strip() for row in own)}
        candidates = [row for row in ranking.rows[low:high].tolist() if passages[row].strip() not in texts]
        drawn = generator.permutation(np.array(candidates, np.int64))[:n]
        if len(drawn) < n:
            filling = _random_rows(passages, n - len(drawn), set(drawn.tolist()), texts, generator)
            drawn = np.concatenate([drawn, filling])
        mined.append(drawn)
    return mined


def _random_rows(
    passages: Sequence[str], n: int, drawn: set[int], texts: set[str], generator: np.random.Generator
) -> np.ndarray:
    """Draw n rows that are not drawn yet and whose texts are none of these; (n,) int64."""
    chosen: list[int] = []
    tries = 0
    while len(chosen) < n and tries < 20 * n + 100:  # a large pool: nearly every draw is good
        row = int(generator.integers(len(passages)))
        tries += 1
        if row not in drawn and passages[row].strip() not in texts:
            chosen.append(row)
            drawn.add(row)
    if len(chosen) < n:  # a small one: look at all
        for row in generator.permutation(len(passages)).tolist():
            if len(chosen) < n and row not in drawn and passages[row].strip() not in texts:
                chosen.append(row)
    if len(chosen) < n:
        raise TrainingDataError(f"the pool of {len(passages)} passages has too few negatives; lower `negatives`")
    return np.array(chosen, np.int64)
