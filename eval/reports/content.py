"""What a report shows, whatever its format: results by task and system, who is best, and what has to be said beside."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from eval.comparison import Comparisons, ItemPolicy, by_task, compare_results
from eval.comparison.outcome import Family
from eval.errors import ComparisonError
from eval.reports.policies import Said, measured_unlike, said_policies
from eval.tasks.base import Reference, TaskResult

_ALPHABET = string.ascii_lowercase.replace("q", "")  # which Unicode has no raised form of
_NEAR = 1e-9


class Unmeasured(NamedTuple):
    """A system without result on a task.

    Attributes:
        task: name of the task.
        system: name of the system.
        reason: why.
    """

    task: str
    system: str
    reason: str


class Mean(NamedTuple):
    """Mean main scores over tasks that all systems were measured on.

    Attributes:
        name: over what.
        scores: by system.
        note: what is left out.
    """

    name: str
    scores: dict[str, float]
    note: str = ""


class AgainstReference(NamedTuple):
    """A result beside a published figure.

    Attributes:
        result: ours.
        reference: theirs.
    """

    result: TaskResult
    reference: Reference

    @property
    def difference(self) -> float:
        """Ours minus theirs."""
        return self.result.score - self.reference.value

    @property
    def within(self) -> bool | None:
        """Tell whether it is within the tolerance; None where none is stated."""
        return None if self.reference.tolerance is None else abs(self.difference) <= self.reference.tolerance + _NEAR


@dataclass(frozen=True)
class Content:
    """Everything that is reported.

    Attributes:
        tasks: results by system by task, in order of appearance.
        systems: names, in order of appearance.
        comparisons: of the systems in pairs.
        unmeasured: systems without result on a task, with the reason.
        title: of the report.
    """

    tasks: dict[str, dict[str, TaskResult]]
    systems: tuple[str, ...]
    comparisons: Comparisons
    unmeasured: tuple[Unmeasured, ...] = ()
    title: str = field(default="Evaluation report")

    @property
    def results(self) -> list[TaskResult]:
        """All results, by task."""
        return [result for of_task in self.tasks.values() for result in of_task.values()]

    @cached_property
    def letters(self) -> dict[str, str]:
        """A short mark for each system: a, b, c ... then aa, ab ..."""
        n = len(_ALPHABET)
        return {
            name: (_ALPHABET[place // n - 1] if place >= n else "") + _ALPHABET[place % n]
            for place, name in enumerate(self.systems)
        }

    def score_name(self, task: str) -> str:
        """Return the name of a task's main score."""
        return next(iter(self.tasks[task].values())).main_score

    def kind(self, task: str) -> str:
        """Return the kind of a task."""
        return next(iter(self.tasks[task].values())).kind

    def is_best(self, task: str, system: str) -> bool:
        """Tell whether no other system has a higher score on a task; never where there is no other."""
        of_task = self.tasks[task]
        return len(of_task) > 1 and _is_highest(of_task[system].score, (result.score for result in of_task.values()))

    def marks(self, task: str, system: str) -> str:
        """Return the letters of the systems that this one beats on a task beyond chance, after correction."""
        beaten = self.comparisons.worse_than(task, system)
        join = "," if len(self.systems) > len(_ALPHABET) else ""
        return join.join(self.letters[name] for name in self.systems if name in beaten)

    @cached_property
    def means(self) -> list[Mean]:
        """Means over what all systems were measured on, as MTEB's: over tasks, and over the means of kinds.

        Subsets, such as languages, count as one task together.
        """
        shared = [task for task, of_task in self.tasks.items() if len(of_task) == len(self.systems)]
        if len(shared) < 2:
            return []
        subsets: dict[str, list[str]] = {}
        for task in shared:
            subsets.setdefault(self._without_subset(task), []).append(task)
        kinds: dict[str, list[dict[str, float]]] = {}
        for parts in subsets.values():
            scores = [{name: self.tasks[part][name].score for name in self.systems} for part in parts]
            kinds.setdefault(self.kind(parts[0]), []).append(self._mean_of(scores))
        left_out = len({self._without_subset(task) for task in self.tasks if task not in shared})
        notes = [f"without {left_out} not measured with all systems"] if left_out else []
        notes += ["subsets of a task count as one"] if len(subsets) < len(shared) else []
        every = [scores for of_kind in kinds.values() for scores in of_kind]
        means = [Mean(f"mean of {len(every)} tasks", self._mean_of(every), "; ".join(notes))]
        if len(kinds) > 1:
            of_kinds = self._mean_of([self._mean_of(of_kind) for of_kind in kinds.values()])
            means.append(Mean(f"mean of {len(kinds)} kinds", of_kinds, "; ".join(notes)))
        return means

    def _mean_of(self, scores: Sequence[dict[str, float]]) -> dict[str, float]:
        return {name: sum(each[name] for each in scores) / len(scores) for name in self.systems}

    def _without_subset(self, task: str) -> str:
        """Return the name of the task that this one is a subset of, or its own."""
        subset = next(iter(self.tasks[task].values())).settings.get("subset")
        return task.removesuffix(f".{subset}") if subset else task

    @cached_property
    def references(self) -> list[AgainstReference]:
        """The results that have a published figure."""
        return [AgainstReference(one, one.reference) for one in self.results if one.reference is not None]

    @cached_property
    def policies(self) -> list[Said]:
        """What was decided; a policy that was not decided alike everywhere has one entry for each reading."""
        return said_policies(self.tasks)

    @cached_property
    def unlike_policies(self) -> list[str]:
        """Tasks whose systems were not measured alike: their scores do not answer one question."""
        return [task for task, of_task in self.tasks.items() if measured_unlike(list(of_task.values()))]

    @cached_property
    def costs(self) -> list[str]:
        """Names of the costs that any result has, those that decide between systems first."""
        present = dict.fromkeys(name for result in self.results for name in result.costs)
        return [name for name in _COSTS_FIRST if name in present] + [
            name for name in present if name not in _COSTS_FIRST
        ]

    @cached_property
    def missing(self) -> list[Unmeasured]:
        """Every combination without result; "not measured" where no reason is known."""
        known = {(one.task, one.system): one for one in self.unmeasured}
        tasks = dict.fromkeys([*self.tasks, *(one.task for one in self.unmeasured)])
        systems = dict.fromkeys([*self.systems, *(one.system for one in self.unmeasured)])
        return [
            known.get((task, system), Unmeasured(task, system, "not measured"))
            for task in tasks
            for system in systems
            if system not in self.tasks.get(task, {})
        ]


_COSTS_FIRST = (
    "query_p50_ms",
    "query_p95_ms",
    "query_p99_ms",
    "encode_tokens_per_second",
    "bytes_per_document",
    "index_seconds",
    "process_peak_memory_bytes",
    "seconds",
)


def highest(scores: dict[str, float]) -> set[str]:
    """Return the names with the highest score; none where there is only one."""
    return {name for name, score in scores.items() if len(scores) > 1 and _is_highest(score, scores.values())}


def _is_highest(score: float, scores: Iterable[float]) -> bool:
    return score >= max(scores) - _NEAR


def gather(
    results: Sequence[TaskResult],
    *,
    baseline: str | None = None,
    items: ItemPolicy = "shared",
    family: Family = "task",
    unmeasured: Sequence[tuple[str, str, str]] = (),
    title: str = "Evaluation report",
) -> Content:
    """Compare the systems and put together what is reported.

    Args:
        results: of any number of systems and tasks.
        baseline: system to compare the others with; by default each is compared with each.
        items: see `compare_results`. Systems that ran on the same data can differ in items where a policy leaves out
            queries without results, so "shared" is the default; "same" is for results of unknown origin.
        family: see `compare_results`.
        unmeasured: (task, system, reason) of combinations that have no result.
        title: of the report.

    Raises:
        ComparisonError: there is no result, or the systems cannot be compared.
    """
    if not results:
        raise ComparisonError("there is no result to report")
    systems = tuple(dict.fromkeys(result.system for result in results))
    comparisons = compare_results(results, baseline, items=items, family=family)
    without = tuple(Unmeasured(*one) for one in unmeasured)
    return Content(by_task(results), systems, comparisons, without, title)
