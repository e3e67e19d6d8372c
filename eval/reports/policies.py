"""Policies in the open: what was decided where, and which results were not measured alike."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from eval.tasks.base import EQUAL_SCORES, TaskResult

_NEAR = 1e-9
_OF_SYSTEMS = {"truncation", "prompts", EQUAL_SCORES}  # what a system does, not how it is measured
_OWN_FIGURES = re.compile(r"; [^;]* would give [^;]*$")


class Said(NamedTuple):
    """One reading of a policy.

    Attributes:
        policy: what is decided.
        sentence: how.
        where: the results it holds for, by kind, task or "task: system"; empty when it holds for all.
    """

    policy: str
    sentence: str
    where: tuple[str, ...]


def said_policies(tasks: Mapping[str, Mapping[str, TaskResult]]) -> list[Said]:
    """Return what was decided; a policy that was not decided alike everywhere has one entry for each reading.

    Args:
        tasks: results by system by task.
    """
    return grouped(tasks, _decisions)


def grouped(
    tasks: Mapping[str, Mapping[str, TaskResult]], facts: Callable[[TaskResult], Mapping[str, str]]
) -> list[Said]:
    """Return what results say of themselves, each reading once, with where it holds.

    Args:
        tasks: results by system by task.
        facts: returns a result's sentences by what they are about.
    """
    results = [result for of_task in tasks.values() for result in of_task.values()]
    readings: dict[str, dict[str, list[TaskResult]]] = {}
    for result in results:
        for policy, sentence in facts(result).items():
            readings.setdefault(policy, {}).setdefault(sentence, []).append(result)
    return [
        Said(policy, sentence, () if len(held) == len(results) else tuple(_where(held, results, tasks)))
        for policy, sentences in readings.items()
        for sentence, held in sentences.items()
    ]


def _where(
    held: Sequence[TaskResult], results: Sequence[TaskResult], tasks: Mapping[str, Mapping[str, TaskResult]]
) -> Iterator[str]:
    """Name results shortly: by kind where it is all of a kind, by task where it is all of a task."""
    rest = {(result.task, result.system) for result in held}
    for kind in dict.fromkeys(result.kind for result in held):
        of_kind = {(one.task, one.system) for one in results if one.kind == kind}
        if of_kind <= rest:
            yield f"all {kind}"
            rest -= of_kind
    for task in dict.fromkeys(result.task for result in held):
        of_task = {(task, system) for system in tasks[task]}
        if of_task <= rest:
            yield task
            rest -= of_task
    yield from (f"{one.task}: {one.system}" for one in held if (one.task, one.system) in rest)


def measured_unlike(results: Sequence[TaskResult]) -> bool:
    """Tell whether a policy that two results of a task state is not the same for both.

    What a system itself does with texts (cutting, prompting) and with equal scores is no such policy.
    """
    said = [_decisions(result) for result in results]
    policies = {policy for one in said for policy in one} - _OF_SYSTEMS
    return any(len({one[policy] for one in said if policy in one}) > 1 for policy in policies)


def _decisions(result: TaskResult) -> dict[str, str]:
    """Return a result's policies without what they say of its own figures, which `other_ties` shows."""
    return {policy: _OWN_FIGURES.sub("", sentence) for policy, sentence in result.policies.items()}


def other_ties(result: TaskResult) -> float | None:
    """Return the main score under the other reading of equal scores; None where both readings agree.

    Tasks keep it in `settings["other_ties"]`, by measure.
    """
    readings = result.settings.get("other_ties")
    value = readings.get(result.main_score) if isinstance(readings, dict) else None
    return None if value is None or abs(value - result.score) <= _NEAR else float(value)
