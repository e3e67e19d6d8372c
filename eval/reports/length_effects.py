"""Length effects: how the score of an item goes with the length of its query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from eval.resampling import resampled_means
from eval.tasks.base import TaskResult

_GROUPS = 6
_LEAST_ITEMS = 8
"""Of a group: with fewer a mean says little."""

_RESAMPLES = 999


def length_effects(results: Sequence[TaskResult], systems: Sequence[str]) -> dict[str, Any] | None:
    """Return mean scores over groups of items whose queries are of about the same length, as JSON values.

    Lengths are in words; in characters where most queries are a single word, as in scripts without spaces. Groups are
    quantiles of the lengths.

    Args:
        results: of one task.
        systems: their order in the report.

    Returns:
        "unit", "groups" as [shortest, longest, items], and for each "system" (by place) its "means" as [mean, low,
        high] with 95 % bootstrap intervals and its "rho", Spearman's correlation of score and length. None where
        fewer than two groups of items have lengths.
    """
    from scipy.stats import spearmanr

    with_items = [result for result in results if result.values]
    texts = {item: text for result in reversed(with_items) for item, text in result.queries.items()}
    items = [item for item in (with_items[0].values if with_items else ()) if item in texts]
    items = [item for item in items if all(item in result.values for result in with_items)]
    if len(items) < 2 * _LEAST_ITEMS:
        return None
    words = np.array([len(texts[item].split()) for item in items])
    unit = "words" if np.median(words) > 1 else "characters"
    lengths = words if unit == "words" else np.array([len(texts[item]) for item in items])
    groups = _groups(lengths)
    if len(groups) < 2:
        return None
    values = np.array([[result.values[item] for result in with_items] for item in items], float)  # (n, systems)
    resampled = [np.percentile(resampled_means(values[rows], _RESAMPLES), [2.5, 97.5], axis=0) for rows in groups]
    return {
        "unit": unit,
        "groups": [[int(lengths[rows].min()), int(lengths[rows].max()), len(rows)] for rows in groups],
        "systems": [
            {
                "system": list(systems).index(result.system),
                "means": [
                    [round(float(each), 4) for each in (values[rows, place].mean(), *interval[:, place])]
                    for rows, interval in zip(groups, resampled, strict=True)
                ],
                "rho": round(float(spearmanr(lengths, values[:, place]).statistic), 3)
                if np.ptp(values[:, place]) > 0
                else None,
            }
            for place, result in enumerate(with_items)
        ],
    }


def _groups(lengths: np.ndarray) -> list[np.ndarray]:
    """Return the places of each group's items: quantiles, those with too few items joined to the one before."""
    wanted = min(_GROUPS, len(lengths) // _LEAST_ITEMS)
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, wanted + 1)[1:-1], method="lower"))
    of_group = np.searchsorted(edges, lengths, side="left")  # equal lengths stay together
    groups: list[np.ndarray] = []
    for group in np.unique(of_group):
        rows = np.flatnonzero(of_group == group)
        if groups and (len(rows) < _LEAST_ITEMS or len(groups[-1]) < _LEAST_ITEMS):
            groups[-1] = np.concatenate([groups[-1], rows])
        else:
            groups.append(rows)
    return groups
