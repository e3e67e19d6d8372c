"""Every system on every task that can measure it: what is stored is not run again, what fails stops nothing else."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from eval.costs import Encoding, encoding_costs, merge_costs, peak_memory
from eval.embedding_cache import CachedEncoder
from eval.errors import EvaluationError, ResultError, TaskError
from eval.provenance import provenance
from eval.running.facts import model_name, result_facts, system_facts, task_facts
from eval.running.outcome import Comparison, Failed, Skipped, State, Step
from eval.running.shared_stages import SharedStages
from eval.running.store import ResultStore
from eval.tasks.base import Surroundings, Task, TaskResult
from eval.tasks.system import System
from indexes.errors import StorageError
from retrieval.encoders.base import fingerprint, settle

_LOGGER = logging.getLogger(__name__)

OnError = Literal["continue", "raise"]

EMBEDDINGS = "embeddings"
"""Folder of kept vectors in the workspace."""


def run_tasks(
    systems: Sequence[System],
    tasks: Sequence[Task],
    surroundings: Surroundings,
    store: ResultStore,
    *,
    again: bool = False,
    progress: Callable[[Step], None] | None = None,
    on_error: OnError = "continue",
) -> Comparison:
    """Measure every system on every task, task by task.

    Each result is stored as soon as it is there, and embeddings are kept in the workspace, so that a run that was
    killed goes on where it was. Why a system has no result is stored as well; an outdated result stays beside it, and
    is what reports show. A stored result counts when everything that decides it is as it was: identity and execution of
    the models, options, the task's own identity, policies, seed, the versions of packages and this engine's code.

    Args:
        systems: with distinct names.
        tasks: likewise.
        surroundings: what they share.
        store: where results are kept.
        again: run what is stored, too.
        progress: called before and after each combination.
        on_error: "continue" notes an error and goes on; "raise" lets it through.

    Raises:
        EvaluationError: two systems or two tasks have one name, or a system cannot say who it is.
        LockedError: another run encodes with one of the models in this workspace.
    """
    if not systems or not tasks:
        raise EvaluationError(f"nothing to run: {len(systems)} systems, {len(tasks)} tasks; give at least one of each")
    for system in systems:
        settle(system.encoder)
    facts = [system_facts(system) for system in systems]
    _check_names(systems, facts, tasks)
    with _cached(systems, surroundings.workspace) as cached:
        total = len(systems) * len(tasks)
        run = _Run(surroundings, store, again=again, progress=progress, on_error=on_error, total=total)
        for task in tasks:
            run.task(task, list(zip(cached, facts, strict=True)))
    return run.comparison


class _Run:
    """A run on its way."""

    def __init__(
        self,
        surroundings: Surroundings,
        store: ResultStore,
        *,
        again: bool,
        progress: Callable[[Step], None] | None,
        on_error: OnError,
        total: int,
    ) -> None:
        self._surroundings = surroundings
        self._store = store
        self._again = again
        self._progress = progress
        self._on_error = on_error
        self._total = total
        self._ended = 0
        self._provenance = provenance()
        self.comparison = Comparison()

    def task(self, task: Task, systems: Sequence[tuple[System, Mapping[str, Any]]]) -> None:
        """Measure all systems on a task."""
        waiting: list[tuple[System, dict[str, Any]]] = []
        found: dict[str, TaskResult] = {}
        of_task: dict[str, Any] = {}
        for system, facts in systems:
            with self._noting_errors(task, system):
                problem = task.problem(system)
                if problem is not None:
                    self.comparison.skipped.append(Skipped(task.name, system.name, problem))
                    self._keep_reason(task, system, problem)
                    self._say(task, system, "skipped", reason=problem)
                    continue
                of_task = of_task or task_facts(task)
                decisive = result_facts(facts, of_task, self._surroundings)
                stored = None if self._again else self._stored(task, system, decisive)
                if stored is None:
                    waiting.append((system, decisive))
                else:
                    found[system.name] = stored
                    self.comparison.n_stored += 1
                    self._say(task, system, "stored", stored)
        # Only now is it known what will run, and so what has a beginning in common.
        shared = SharedStages(system for system, _ in waiting)
        surroundings = replace(self._surroundings, share=shared)
        for system, decisive in waiting:
            with self._noting_errors(task, system, decisive):
                self._say(task, system, "begun")
                before = shared.reused
                result = _measured(task, system, surroundings)
                result = replace(
                    result, settings={**self._settings(decisive, shared.reused - before), **result.settings}
                )
                self._store.write(result, decisive)
                found[system.name] = result
                self._say(task, system, "done", result)
        self.comparison.results.extend(found[system.name] for system, _ in systems if system.name in found)

    def _stored(self, task: Task, system: System, decisive: Mapping[str, Any]) -> TaskResult | None:
        result = self._found(task, system, decisive)
        timed = 0 if result is None else result.settings.get("latency_sample", 0)
        if result is None or timed < self._surroundings.latency_sample:
            return None
        self._store.forget_reason(task.name, system.name)  # of a run in between, of other facts
        return result

    def _found(self, task: Task, system: System, decisive: Mapping[str, Any]) -> TaskResult | None:
        try:
            return self._store.find(task.name, system.name, decisive)
        except ResultError as error:
            _LOGGER.warning("%s; it is run again", error)
            return None

    def _settings(self, decisive: Mapping[str, Any], reused: int) -> dict[str, Any]:
        """Return what belongs to a result beside what its task says of it."""
        settings = {name: decisive[name] for name in ("system", "task", "seed")}
        settings["latency_sample"] = self._surroundings.latency_sample
        if reused:
            settings["lists_shared_with_other_systems"] = reused
        return {**settings, **self._provenance}

    @contextlib.contextmanager
    def _noting_errors(self, task: Task, system: System, decisive: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Note an error, unless it is to go through; it is no reason for a stored result that these facts decided."""
        try:
            yield
        except Exception as error:
            if self._on_error == "raise":
                raise
            _LOGGER.debug("%s on %s failed", system.name, task.name, exc_info=True)
            failed = Failed(task.name, system.name, error)
            self.comparison.failed.append(failed)
            if decisive is None or self._found(task, system, decisive) is None:
                self._keep_reason(task, system, failed.reason)
            self._say(task, system, "failed", reason=failed.reason)

    def _keep_reason(self, task: Task, system: System, reason: str) -> None:
        """Store why there is no result; where that fails, the run goes on all the same."""
        try:
            self._store.write_reason(task.name, system.name, reason)
        except (StorageError, OSError) as error:
            _LOGGER.warning("why %s was not measured on %s is not kept: %s", system.name, task.name, error)

    def _say(
        self, task: Task, system: System, state: State, result: TaskResult | None = None, *, reason: str = ""
    ) -> None:
        number = self._ended + 1
        self._ended += state != "begun"
        if self._progress is not None:
            self._progress(Step(number, self._total, task.name, system.name, state, result, reason))


def _measured(task: Task, system: System, surroundings: Surroundings) -> TaskResult:
    """Run a task, and add what it cost."""
    cached = system.encoder if isinstance(system.encoder, CachedEncoder) else None
    before = Encoding() if cached is None else cached.encoded
    began = time.perf_counter()
    result = task.run(system, surroundings)
    costs = {"seconds": time.perf_counter() - began, **peak_memory()}
    if (result.task, result.system) != (task.name, system.name):
        raise TaskError(
            f"task {task.name!r} measured {system.name!r} and returned a result of {result.system!r} on {result.task!r}"
        )
    if cached is not None:
        costs |= encoding_costs(cached.encoded - before, cached.ever_encoded)
        cached.flush()
    return merge_costs(result, costs)


@contextlib.contextmanager
def _cached(systems: Sequence[System], workspace: Path) -> Iterator[list[System]]:
    """Give systems encoders that keep their vectors; those with one model share what it has encoded."""
    with contextlib.ExitStack() as stack:
        made: dict[str, CachedEncoder] = {}
        wrapped = []
        for system in systems:
            encoder = system.encoder
            if encoder is not None and not isinstance(encoder, CachedEncoder):
                key = fingerprint({"identity": encoder.identity(), "execution": encoder.execution()})
                if key not in made:
                    made[key] = CachedEncoder(encoder, workspace / EMBEDDINGS)
                    stack.callback(made[key].close)
                encoder = made[key]
            wrapped.append(replace(system, encoder=encoder))
        yield wrapped


def _check_names(systems: Sequence[System], facts: Sequence[Mapping[str, Any]], tasks: Sequence[Task]) -> None:
    known: dict[str, Mapping[str, Any]] = {}
    for system, described in zip(systems, facts, strict=True):
        earlier = known.setdefault(system.name, described)
        if earlier is described:
            continue
        if earlier == described:
            raise EvaluationError(f"system {system.name!r} is given twice; leave one out")
        raise EvaluationError(
            f"two systems are called {system.name!r}: {model_name(earlier)}, and {model_name(described)}; give them "
            "different names"
        )
    names = [task.name for task in tasks]
    twice = next((name for number, name in enumerate(names) if name in names[:number]), None)
    if twice is not None:
        raise EvaluationError(f"two tasks are called {twice!r}; give them different names")
