"""Comparison of systems whose main score is a rank correlation with what people said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from eval.comparison.outcome import CORRELATION_RESAMPLES, PairedComparison
from eval.errors import ComparisonError
from eval.resampling import resampled_rank_correlations
from eval.tasks.base import TaskResult


def compare_correlations_of(results: Sequence[TaskResult], seed: int) -> Callable[[int, int], PairedComparison]:
    """Return a function that compares two of the systems, given by their places.

    The probability is the level at which the bootstrap interval of the difference would just hold 0, taken from both
    sides (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 4.4); the observed outcome
    counts as a draw, so it is never 0.

    Args:
        results: of two or more systems on one task, each with gold scores and predictions.
        seed: of the resampling.

    Raises:
        ComparisonError: the systems have different gold scores, a score is not finite, or gold scores are all equal.
    """
    from scipy.stats import spearmanr

    gold = np.array(results[0].gold, float)
    for result in results:
        _check_gold(results[0], result)
    predicted = np.array([result.predicted for result in results], float).T  # (n, systems)
    measurable = [len(set(column)) > 1 for column in predicted.T]
    if len(set(gold)) < 2:
        raise ComparisonError(f"task {results[0].task!r}: all gold scores are {gold[0]:g}: they have no ranks")
    drawn = resampled_rank_correlations(gold, predicted, CORRELATION_RESAMPLES, seed)
    beside = [
        varies and abs(spearmanr(gold, result.predicted).statistic - result.score) > 1e-3
        for varies, result in zip(measurable, results, strict=True)
    ]

    def compare(one: int, other: int) -> PairedComparison:
        first, second = results[one], results[other]
        known = PairedComparison(
            first.task, first.main_score, first.system, second.system, len(gold), second.score - first.score
        )
        if not (measurable[one] and measurable[other]):
            return replace(known, note="a system gives all pairs the same similarity: only the difference is known")
        differences = drawn[:, other] - drawn[:, one]
        differences = differences[np.isfinite(differences)]
        low, high = np.percentile(differences, [2.5, 97.5])
        below, above = (int((sign * differences <= 1e-12).sum()) for sign in (1, -1))
        p = min(1.0, 2 * (min(below, above) + 1) / (len(differences) + 1))
        known = replace(known, low=float(low), high=float(high), test="bootstrap", p=p)
        note = "the main score is not Spearman's correlation, which is what the interval and the test are about"
        return replace(known, note=note) if beside[one] or beside[other] else known

    return compare


def _check_gold(first: TaskResult, other: TaskResult) -> None:
    if len(other.predicted) != len(other.gold):
        raise ComparisonError(
            f"task {other.task!r}, system {other.system!r}: {len(other.gold):,} gold scores and "
            f"{len(other.predicted):,} predictions"
        )
    if not np.isfinite([*other.gold, *other.predicted]).all():
        raise ComparisonError(f"task {other.task!r}, system {other.system!r}: a score is not finite")
    if first.gold != other.gold:
        place = next(
            (i for i, pair in enumerate(zip(first.gold, other.gold, strict=False)) if pair[0] != pair[1]), None
        )
        fact = f"{len(first.gold):,} and {len(other.gold):,} pairs" if place is None else f"pair {place + 1:,} differs"
        raise ComparisonError(
            f"task {first.task!r}: systems {first.system!r} and {other.system!r} have different gold scores ({fact}); "
            "measure them on the same data"
        )
