"""Resampling that many systems share: the same draws of items for each of them, so that any two can be subtracted.

Sums are linear in the values. What a draw of signs or of items does to the difference of two systems is therefore the
difference of what it does to each of them: n systems cost n sets of draws, not one for each of their n (n - 1) / 2
pairs, and 50,000 queries stay within bounded memory. `eval.comparison` draws so for all systems of a task,
`eval.significance` for a single pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

Seed = int | np.random.SeedSequence

RESAMPLES = 9_999
_CELLS_AT_ONCE = 2_000_000  # of a block of draws: bounds memory


def flipped_sums(values: np.ndarray, resamples: int = RESAMPLES, seed: Seed = 0) -> tuple[np.ndarray, bool]:
    """Return sums of the systems' values with random signs, as the sign-flip test of paired values needs them.

    Args:
        values: of each item by each system, `(n, systems)`.
        resamples: draws of n signs.
        seed: of the draws.

    Returns:
        The sums `(draws, systems)`, and whether the draws are all 2^n that there are, each once, since that is not
        more than were asked for.
    """
    n = len(values)
    if n < 63 and 2**n <= resamples:
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1  # (2^n, n)
        return (2.0 * bits - 1) @ values, True
    generator = np.random.default_rng(seed)
    blocks = [(2.0 * generator.integers(0, 2, (rows, n)) - 1) @ values for rows in _blocks(resamples, n)]
    return np.concatenate(blocks), False


def sign_flip_probability(first: np.ndarray, second: np.ndarray, observed: float, n: int, *, exact: bool) -> float:
    """Return how often the sum of n differences is at least as far from zero as it was observed to be.

    Smucker, Allan and Carterette (CIKM 2007) call this the randomisation test. A drawn probability counts the observed
    outcome among the draws (Phipson and Smyth 2010): it is never zero.

    Args:
        first: column of `flipped_sums`.
        second: the other system's.
        observed: the sum of the differences.
        n: number of items; sums that differ by less than 1e-9 an item are equal, whatever the order of adding.
        exact: the draws are all that there are.
    """
    extreme = int(np.count_nonzero(np.abs(second - first) >= abs(observed) - 1e-9 * n))
    return extreme / len(first) if exact else (extreme + 1) / (len(first) + 1)


def resampled_means(values: np.ndarray, resamples: int = RESAMPLES, seed: Seed = 0) -> np.ndarray:
    """Return the systems' means over items drawn with replacement, `(resamples, systems)`.

    Args:
        values: of each item by each system, `(n, systems)`.
        resamples: draws of n items.
        seed: of the draws.
    """
    return np.concatenate([counts @ values / len(values) for counts in _counts(len(values), resamples, seed)])


def resampled_rank_correlations(
    gold: np.ndarray, predicted: np.ndarray, resamples: int = RESAMPLES, seed: Seed = 0
) -> np.ndarray:
    """Return Spearman's correlations with gold over pairs drawn with replacement, `(resamples, systems)`.

    Args:
        gold: what people said of each pair, `(n,)`.
        predicted: the systems' similarities, `(n, systems)`.
        resamples: draws of n pairs.
        seed: of the draws.

    Returns:
        NaN for a draw in which all values of one side are equal: they have no ranks.
    """
    groups = _Groups(gold), [_Groups(column) for column in predicted.T]
    return np.concatenate([_correlations(*groups, counts) for counts in _counts(len(gold), resamples, seed)])


def rank_correlations(gold: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return Spearman's correlations with gold over all pairs, `(systems,)`; see `resampled_rank_correlations`."""
    return _correlations(_Groups(gold), [_Groups(column) for column in predicted.T], np.ones((1, len(gold))))[0]


class _Groups:
    """Ranks of a multiset of values without sorting it: the values are sorted once, a draw only says how often each."""

    def __init__(self, values: np.ndarray) -> None:
        self._order = np.argsort(values, kind="stable")
        ordered = values[self._order]
        new = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        self._starts = np.flatnonzero(new)
        self._group = np.empty(len(values), dtype=np.intp)
        self._group[self._order] = np.cumsum(new) - 1

    def centred_ranks(self, counts: np.ndarray) -> np.ndarray:
        """Return each value's rank among the drawn ones less the mean rank; equal values share their mean rank.

        Args:
            counts: how often each value was drawn, `(draws, n)`.
        """
        sizes = np.add.reduceat(counts[:, self._order], self._starts, axis=1)  # (draws, groups)
        ranks = np.cumsum(sizes, axis=1) - (sizes - 1) / 2
        return (ranks - (counts.shape[1] + 1) / 2)[:, self._group]


def _correlations(gold: _Groups, systems: Sequence[_Groups], counts: np.ndarray) -> np.ndarray:
    """Return each system's correlation with gold by draw, `(draws, systems)`."""
    ranks = gold.centred_ranks(counts)
    return np.stack([_correlation(ranks, each.centred_ranks(counts), counts) for each in systems], axis=1)


def _correlation(one: np.ndarray, other: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pearson's correlation of centred values that count several times, by row."""
    weighted = counts * one
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.einsum("ij,ij->i", weighted, other) / np.sqrt(
            np.einsum("ij,ij->i", weighted, one) * np.einsum("ij,ij,ij->i", counts, other, other)
        )


def _counts(n: int, resamples: int, seed: Seed) -> Iterator[np.ndarray]:
    """Yield blocks `(draws, n)` of how often each item was drawn."""
    generator = np.random.default_rng(seed)
    for rows in _blocks(resamples, n):
        drawn = generator.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(float)


def _blocks(resamples: int, n: int) -> Iterator[int]:
    most = max(1, _CELLS_AT_ONCE // n)
    for start in range(0, resamples, most):
        yield min(most, resamples - start)
