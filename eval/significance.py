"""Paired comparison of two systems on the same queries or pairs, by resampling: no distribution is assumed.

Smucker, Allan and Carterette (CIKM 2007) compare the tests that the field uses; the sign-flip ("randomisation") test
asks the question that one means: how often would a difference as large come about if the two systems' values of each
query had been swapped by coin? Intervals are percentile bootstraps over queries. The draws are those of
`eval.resampling`, which `eval.comparison` shares among any number of systems.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eval.errors import MeasureError
from eval.resampling import (
    flipped_sums,
    rank_correlations,
    resampled_means,
    resampled_rank_correlations,
    sign_flip_probability,
)

Values = Sequence[float] | np.ndarray
"""A value for each query or pair."""

_CORRELATION_RESAMPLES = 1_000
_INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class PairedDifference:
    """What the second system has over the first.

    Attributes:
        n: queries or pairs that both were measured on.
        difference: second minus first.
        low: lower end of the 95 % interval of the difference.
        high: its upper end.
        p: two-sided probability of a difference at least as large by chance; None where only the interval tells.
    """

    n: int
    difference: float
    low: float
    high: float
    p: float | None = None

    def __str__(self) -> str:
        chance = "" if self.p is None else f", p {'< 0.001' if self.p < 0.001 else f'= {self.p:.3f}'}"
        return f"{self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}]{chance}"


def compare_means(first: Sequence[float], second: Sequence[float], seed: int = 0) -> PairedDifference:
    """Compare the means of two systems' values of the same queries.

    Args:
        first: a value for each query.
        second: the other system's, in the same order.
        seed: of the resampling.

    Returns:
        The difference of the means with its interval, and the sign-flip test's probability (9,999 draws: the smallest
        is 0.0001; all 2^n of them where there are no more).

    Raises:
        MeasureError: the lengths differ, there are fewer than two queries, or a value is not finite.
    """
    values = np.subtract(*reversed(_paired(first, second)))[:, None]  # (n, 1)
    n, total = len(values), float(values.sum())
    if not values.any():
        return PairedDifference(n, 0.0, 0.0, 0.0, 1.0)
    sums, exact = flipped_sums(values, seed=seed)
    p = sign_flip_probability(np.zeros(len(sums)), sums[:, 0], total, n, exact=exact)
    low, high = np.percentile(resampled_means(values, seed=seed)[:, 0], _INTERVAL)
    return PairedDifference(n, total / n, float(low), float(high), p)


def compare_rank_correlations(gold: Values, first: Values, second: Values, seed: int = 0) -> PairedDifference:
    """Compare Spearman's correlations of two systems' scores with the same gold scores, as in STS.

    Args:
        gold: what people said of each pair.
        first: one system's similarities.
        second: the other's.
        seed: of the resampling.

    Returns:
        The difference of the correlations, with the interval over resampled pairs; resamples that draw one value only
        have no correlation and do not count.

    Raises:
        MeasureError: the lengths differ, there are fewer than two pairs, a value is not finite, or all values of one
            side are equal: they have no ranks to compare.
    """
    return compare_mean_rank_correlations([(gold, first, second)], seed)


def compare_mean_rank_correlations(sets: Sequence[tuple[Values, Values, Values]], seed: int = 0) -> PairedDifference:
    """Compare the means of two systems' correlations over several sets, as the mean over STS 2012 to 2016.

    Args:
        sets: gold, first and second of each, see `compare_rank_correlations`.
        seed: of the resampling.

    Returns:
        The difference of the means over all pairs of all sets, with the interval over pairs resampled within their
        sets.

    Raises:
        MeasureError: there is no set, or one cannot be compared, see `compare_rank_correlations`.
    """
    if not sets:
        raise MeasureError("there is no set to compare two systems on; give at least one")
    for gold, _, second in sets:
        _paired(gold, second)
    checked = [(np.asarray(gold, float), np.column_stack(_paired(first, second))) for gold, first, second in sets]
    for side in (side for gold, systems in checked for side in (gold, *systems.T)):
        if side.min() == side.max():
            raise MeasureError(f"all {len(side)} values of one side are {side[0]:g}: they have no rank correlation")
    # Each set has draws of its own: pairs at the same places of two sets have nothing in common.
    seeds = np.random.SeedSequence(seed).spawn(len(checked))
    drawn = np.mean(
        [
            _differences(resampled_rank_correlations(gold, systems, _CORRELATION_RESAMPLES, own))
            for (gold, systems), own in zip(checked, seeds, strict=True)
        ],
        axis=0,
    )  # (draws,)
    low, high = np.nanpercentile(drawn, _INTERVAL)
    found = np.mean([_differences(rank_correlations(gold, systems)[None])[0] for gold, systems in checked])
    return PairedDifference(sum(len(gold) for gold, _ in checked), float(found), float(low), float(high))


def holm(probabilities: Sequence[float]) -> list[float]:
    """Return the probabilities of a family of tests, adjusted so that any false one among them is as rare as stated.

    Holm, "A simple sequentially rejective multiple test procedure" (Scandinavian Journal of Statistics 6, 1979): the
    i-th smallest of m is multiplied by m - i + 1 and never falls below the adjusted one before it. No independence is
    assumed.

    Args:
        probabilities: of all tests of the family.

    Returns:
        The adjusted probabilities in the same order, at most 1.

    Raises:
        MeasureError: a value is no probability.
    """
    if any(not 0 <= p <= 1 for p in probabilities):
        raise MeasureError(f"{next(p for p in probabilities if not 0 <= p <= 1)} is no probability")
    adjusted, least = [0.0] * len(probabilities), 0.0
    for rank, place in enumerate(sorted(range(len(probabilities)), key=probabilities.__getitem__)):
        least = max(least, min(1.0, (len(probabilities) - rank) * probabilities[place]))
        adjusted[place] = least
    return adjusted


def standardised_difference(differences: Values) -> float | None:
    """Return the mean of paired differences over their standard deviation (n - 1): Cohen's d_z.

    Lakens, "Calculating and reporting effect sizes" (Frontiers in Psychology 4, 2013), equation 6.

    Returns:
        0 where all differences are 0; None where they are equal and not 0, or there is only one.
    """
    given = np.asarray(differences, float)
    if not given.any():
        return 0.0
    deviation = float(given.std(ddof=1)) if len(given) > 1 else 0.0
    # What is left of equal differences after rounding is no deviation.
    return float(given.mean()) / deviation if deviation > 1e-12 * np.abs(given).max() else None


def dominance(differences: Values) -> float:
    """Return the share of items that rose less the share that fell: Cliff's delta within pairs.

    Cliff, "Dominance statistics: ordinal analyses to answer ordinal questions" (Psychological Bulletin 114, 1993), d_w:
    1 where every item is better, -1 where every one is worse, whatever the size of the differences.
    """
    return float(np.sign(np.asarray(differences, float)).mean())


def _differences(correlations: np.ndarray) -> np.ndarray:
    """Return the second system's correlations less the first's, from `(draws, 2)`."""
    return correlations[:, 1] - correlations[:, 0]


def _paired(first: Values, second: Values) -> tuple[np.ndarray, np.ndarray]:
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if one.shape != other.shape or one.ndim != 1 or len(one) < 2:
        raise MeasureError(
            "two systems are compared by one value for each of the same two or more queries, not by arrays of shape "
            f"{one.shape} and {other.shape}"
        )
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise MeasureError("a value is not finite, so the systems cannot be compared")
    return one, other
