"""Comparison of systems whose main score is a mean over items."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eval.comparison.items import TIE, ItemPolicy, shared_items
from eval.comparison.outcome import RESAMPLES, PairedComparison
from eval.errors import ComparisonError
from eval.resampling import flipped_sums, resampled_means, sign_flip_probability
from eval.significance import dominance, standardised_difference
from eval.tasks.base import TaskResult


def compare_means_of(
    results: Sequence[TaskResult], policy: ItemPolicy, seed: int
) -> Callable[[int, int], PairedComparison]:
    """Return a function that compares two of the systems, given by their places.

    Args:
        results: of two or more systems on one task, each with values of items.
        policy: what is done where the systems have different items, see `shared_items`.
        seed: of the resampling.

    Raises:
        ComparisonError: the items do not match, or a value is not finite.
    """
    from scipy import stats

    names, left_out = shared_items(results, policy)
    values = np.array([[result.values[name] for name in names] for result in results], float).T  # (n, systems)
    n = len(values)
    if not np.isfinite(values).all():
        system = results[int(np.flatnonzero(~np.isfinite(values).all(axis=0))[0])].system
        raise ComparisonError(f"task {results[0].task!r}: a value of system {system!r} is not finite")
    sums, exact = flipped_sums(values, RESAMPLES, seed)
    resampled = resampled_means(values, RESAMPLES, seed)

    def compare(one: int, other: int) -> PairedComparison:
        gaps = values[:, other] - values[:, one]
        gaps[np.abs(gaps) <= TIE] = 0.0
        low, high = np.percentile(resampled[:, other] - resampled[:, one], [2.5, 97.5])
        deviates = standardised_difference(gaps)
        student = None
        if deviates is not None:
            student = float(stats.ttest_1samp(gaps, 0).pvalue) if gaps.any() else 1.0
        first, second = results[one], results[other]
        return PairedComparison(
            first.task,
            first.main_score,
            first.system,
            second.system,
            n,
            float(gaps.mean()),
            float(low) if gaps.any() else 0.0,
            float(high) if gaps.any() else 0.0,
            "sign flips" if n > 1 else "",
            sign_flip_probability(sums[:, one], sums[:, other], float(gaps.sum()), n, exact=exact) if n > 1 else None,
            p_t=student if n > 1 else None,
            d_z=deviates,
            dominance=dominance(gaps),
            wins=int((gaps > 0).sum()),
            ties=int((gaps == 0).sum()),
            losses=int((gaps < 0).sum()),
            note=_notes(n, left_out, values[:, one].mean() - first.score, values[:, other].mean() - second.score),
        )

    return compare


def _notes(n: int, left_out: int, *beside: float) -> str:
    notes = ["one item is too few for a test"] if n == 1 else []
    if left_out:
        notes.append(f"{left_out:,} items that not all systems have are left out")
    elif any(abs(gap) > 1e-3 for gap in beside):
        notes.append("the main score is not the mean of the items' values, which are what is compared")
    return "; ".join(notes)
