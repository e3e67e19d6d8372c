"""Which systems are compared on which tasks, and the correction for having asked so often."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from eval.comparison.correlations import compare_correlations_of
from eval.comparison.items import ItemPolicy
from eval.comparison.means import compare_means_of
from eval.comparison.outcome import ALPHA, Comparisons, Family, PairedComparison
from eval.errors import ComparisonError
from eval.significance import holm
from eval.tasks.base import TaskResult


def compare_results(
    results: Sequence[TaskResult],
    baseline: str | None = None,
    *,
    items: ItemPolicy = "same",
    family: Family = "task",
    alpha: float = ALPHA,
    seed: int = 0,
) -> Comparisons:
    """Compare systems in pairs on every task that more than one of them was measured on.

    Args:
        results: of any number of systems and tasks, one for each combination at most.
        baseline: name of the system that the others are compared with; by default each is compared with each.
        items: "same" refuses systems that were measured on different items of a task; "shared" compares over the items
            that all systems of the task have, and says how many were left out.
        family: Holm's correction goes over the tests of each "task" by itself, or over "all". The first one answers
            "which systems differ on this task?", the second "on which of all these tasks is there a difference?".
        alpha: how often a family of tests may find a difference that is not there.
        seed: of the resampling.

    Raises:
        ComparisonError: the baseline is not among the systems, there are two results of a combination, systems of a
            task differ in main score, gold scores, definition or files of the task, or (under "same") in their items.
    """
    systems = list(dict.fromkeys(result.system for result in results))
    if baseline is not None and baseline not in systems:
        raise ComparisonError(f"the baseline {baseline!r} is not among the systems: {', '.join(systems)}")
    found: list[PairedComparison] = []
    for task, of_task in by_task(results).items():
        ordered = sorted(of_task.values(), key=lambda result: result.system != baseline)  # the baseline comes first
        scores = list(dict.fromkeys(result.main_score for result in ordered))
        if len(scores) > 1:
            raise ComparisonError(f"task {task!r}: systems differ in their main score ({', '.join(scores)})")
        _check_same_data(task, ordered)
        found += _of_task(ordered, baseline, items, seed)
    return Comparisons(tuple(_corrected(found, family)), baseline, items, family, alpha, seed)


def by_task(results: Sequence[TaskResult]) -> dict[str, dict[str, TaskResult]]:
    """Return results by system by task, both in order of appearance.

    Raises:
        ComparisonError: there are two different results of a combination.
    """
    tasks: dict[str, dict[str, TaskResult]] = {}
    for result in results:
        known = tasks.setdefault(result.task, {}).setdefault(result.system, result)
        if known != result:
            raise ComparisonError(
                f"there are two different results of system {result.system!r} on task {result.task!r}; give systems "
                "that differ different names"
            )
    return tasks


def _check_same_data(task: str, results: Sequence[TaskResult]) -> None:
    """Refuse systems that were measured on other data: files that changed between two runs into one folder."""
    known = [result for result in results if isinstance(result.settings.get("task"), Mapping)]
    for other in known[1:]:
        tasks = [_without_references(each.settings["task"]) for each in (known[0], other)]
        if tasks[0] == tasks[1]:
            continue
        files = [dict(each.get("files") or {}) for each in tasks]
        changed = sorted(name for name in files[0].keys() | files[1].keys() if files[0].get(name) != files[1].get(name))
        what = f"other files ({', '.join(changed)})" if changed else "another definition"
        raise ComparisonError(
            f"task {task!r}: {known[0].system!r} and {other.system!r} were measured on {what}; run `retrieval compare` "
            "again with both, or name other tasks or systems"
        )


def _without_references(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task without its published figures, which have no say in what is measured."""
    return {name: value for name, value in task.items() if name != "references"}


def _of_task(
    results: list[TaskResult], baseline: str | None, policy: ItemPolicy, seed: int
) -> Iterator[PairedComparison]:
    """Yield the comparisons of a task's systems; those with values of the same kind share the draws."""
    by_items = [result for result in results if result.values]
    by_gold = [result for result in results if not result.values and result.gold]
    means = compare_means_of(by_items, policy, seed) if len(by_items) > 1 else None
    correlations = compare_correlations_of(by_gold, seed) if len(by_gold) > 1 else None
    for first, second in combinations(results, 2):
        if baseline is not None and first.system != baseline:
            continue
        if means and first in by_items and second in by_items:
            yield means(by_items.index(first), by_items.index(second))
        elif correlations and first in by_gold and second in by_gold:
            yield correlations(by_gold.index(first), by_gold.index(second))
        else:
            difference = second.score - first.score
            note = "the score is no mean over items: only the difference is known"
            n = min(first.n_items, second.n_items)
            yield PairedComparison(first.task, first.main_score, first.system, second.system, n, difference, note=note)


def _corrected(found: list[PairedComparison], family: Family) -> list[PairedComparison]:
    """Correct each kind of probability over each family."""
    p = _adjusted([one.p for one in found], found, family)
    p_t = _adjusted([one.p_t for one in found], found, family)
    return [replace(one, p_adjusted=p[place], p_t_adjusted=p_t[place]) for place, one in enumerate(found)]


def _adjusted(probabilities: list[float | None], of: list[PairedComparison], family: Family) -> list[float | None]:
    families: dict[str, dict[int, float]] = {}
    for place, p in enumerate(probabilities):
        if p is not None:
            families.setdefault(of[place].task if family == "task" else "", {})[place] = p
    adjusted: list[float | None] = [None] * len(of)
    for tests in families.values():
        for place, p in zip(tests, holm(list(tests.values())), strict=True):
            adjusted[place] = p
    return adjusted
