"""Estimates: a number with its 95 % interval and the count that it rests on.

Intervals are percentile bootstraps over what was drawn (pairs, needles, texts, articles). Means over all pairs of texts
are U-statistics: drawing texts with replacement would put texts beside themselves, so these go by the jackknife
(Arvesen 1969, "Jackknifing U-statistics", Annals of Mathematical Statistics 40(6)).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from eval.errors import MeasureError

RESAMPLES = 1_000

_NORMAL_95 = 1.959963984540054  # two-sided quantile of the normal distribution
_VALUES_AT_ONCE = 1 << 22  # of resamples: bounds memory


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: over everything.
        low: lower end of its 95 % interval.
        high: upper end.
        n: what it was measured on: pairs, texts, queries, articles.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def bootstrap(n: int, statistic: Callable[[np.ndarray], np.ndarray], seed: int) -> list[Estimate]:
    """Estimate statistics of n things that were drawn, by resampling their numbers.

    Args:
        n: how many things.
        statistic: from (n,) int64 row numbers to one or more values, (m,); NaN where a resample has none.
        seed: of the resampling.

    Returns:
        An estimate for each value.

    Raises:
        MeasureError: there are fewer than two things.
    """
    if n < 2:
        raise MeasureError(f"an interval needs at least two things to resample, not {n}")
    generator = np.random.default_rng(seed)
    found = np.atleast_1d(statistic(np.arange(n)))
    drawn = np.array([np.atleast_1d(statistic(generator.integers(0, n, n))) for _ in range(RESAMPLES)])
    return _estimates(found, drawn, n)


def bootstrap_ratios(above: np.ndarray, below: np.ndarray, seed: int) -> list[Estimate]:
    """Estimate ratios of sums over things that were drawn; means where `below` is 1 everywhere.

    Args:
        above: (n, m), what each thing adds above the lines.
        below: (n, m), and below them.
        seed: of the resampling.

    Returns:
        m estimates; NaN throughout where everything below a line adds up to nothing.

    Raises:
        MeasureError: there are fewer than two things.
    """
    n = len(above)
    if n < 2:
        raise MeasureError(f"an interval needs at least two things to resample, not {n}")
    generator = np.random.default_rng(seed)
    both = np.hstack([above, below]).astype(np.float64)  # (n, 2 m)
    at_once = max(1, _VALUES_AT_ONCE // n)
    drawn = []
    for start in range(0, RESAMPLES, at_once):
        # How often each thing is drawn; what is drawn n times among n is multinomial.
        counts = generator.multinomial(n, np.full(n, 1 / n), min(at_once, RESAMPLES - start))
        drawn.append(counts @ both)
    return _estimates(_ratios(both.sum(axis=0)), _ratios(np.concatenate(drawn)), n)


def bootstrap_means(values: np.ndarray, seed: int) -> list[Estimate]:
    """Estimate the means of the columns of (n, m) values of n things, all from the same resamples."""
    return bootstrap_ratios(values, np.ones_like(values, dtype=float), seed)


def jackknife(value: float, without: np.ndarray) -> Estimate:
    """Estimate a statistic from what it is without each of the texts.

    Args:
        value: with all of them.
        without: (n,) without one.
    """
    n = len(without)
    error = float(np.sqrt((n - 1) / n * np.square(without - without.mean()).sum()))
    return Estimate(value, value - _NORMAL_95 * error, value + _NORMAL_95 * error, n)


def spearman(gold: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return Spearman's correlations of columns with gold scores, ties at their mean rank.

    Args:
        gold: (n,).
        scores: (n, m).

    Returns:
        (m,) float64; NaN where a side has one value only.
    """
    from scipy.stats import rankdata

    first = rankdata(gold)  # (n,)
    first = first - first.mean()
    second = rankdata(scores, axis=0)
    second = second - second.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: np.ndarray = first @ second / (np.linalg.norm(first) * np.linalg.norm(second, axis=0))
    return found


def checked_scores(values: Sequence[float] | np.ndarray, what: str) -> np.ndarray:
    """Return scores of which a rank correlation exists, (n,) float64.

    Args:
        values: one for each pair.
        what: what they are, for messages.

    Raises:
        MeasureError: there are fewer than two, one is not finite, or all are equal.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2:
        raise MeasureError(f"{what}: a rank correlation needs two or more values in a row, not shape {array.shape}")
    if not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array))[0])
        raise MeasureError(f"{what}: value {row} is {array[row]}; remove it or give it a finite number")
    if array.min() == array.max():
        raise MeasureError(f"{what}: all {len(array)} values are {array[0]:g}, so they have no rank correlation")
    return array


def _ratios(sums: np.ndarray) -> np.ndarray:
    above, below = np.split(sums, 2, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below > 0, above / below, np.nan)


def _estimates(found: np.ndarray, drawn: np.ndarray, n: int) -> list[Estimate]:
    """Return estimates from values (m,) and their resamples (resamples, m); those without a value are left out."""
    estimates = []
    for value, resampled in zip(found, drawn.T, strict=True):
        known = resampled[np.isfinite(resampled)]
        low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
        estimates.append(Estimate(float(value), float(low), float(high), n))
    return estimates
