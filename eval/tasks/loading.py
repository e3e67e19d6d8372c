"""Loading tasks: the packaged definitions whose data is there, and those that lie beside a user's own data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from eval.errors import MissingDataError, TaskError
from eval.tasks.base import Task
from eval.tasks.definition import Definition, read_definitions
from eval.tasks.kinds import task_class
from eval.testsets import PREFIX

_OWN_PATTERNS = ("task.toml", "*.task.toml", "*/task.toml", "*/*.task.toml")


@dataclass(frozen=True)
class FoundTasks:
    """What a data folder gives.

    Attributes:
        tasks: that can be run, by the order of their names.
        missing: why a packaged task cannot, by its name: which of its data is not there.
    """

    tasks: list[Task]
    missing: dict[str, str] = field(default_factory=dict)


def packaged_definitions() -> list[Definition]:
    """Return the definitions that come with the package, by the order of their files."""
    folder = Path(str(resources.files("eval.tasks"))) / "definitions"
    return [definition for file in sorted(folder.glob("*.toml")) for definition in read_definitions(file)]


def load_task(file: str | Path, data: str | Path | None = None) -> list[Task]:
    """Load the task of one definition file, or one task for each of its subsets.

    Args:
        file: the definition.
        data: what its folder is below; None takes the file's own folder.

    Raises:
        TaskError: the definition cannot be used.
        MissingDataError: its data is not there.
    """
    file = Path(file)
    place = file.parent if data is None else Path(data)
    return [task_class(definition.kind).from_definition(definition, place) for definition in read_definitions(file)]


def load_tasks(data: str | Path, names: Sequence[str] | None = None) -> list[Task]:
    """Load tasks, see `find_tasks`; tasks without data are left out unless they are named.

    Raises:
        TaskError: as for `find_tasks`.
        MissingDataError: a task that is named has no data.
    """
    found = find_tasks(data, names)
    if names is not None and found.missing:
        name, reason = next(iter(found.missing.items()))
        raise MissingDataError(f"task {name} has no data: {reason}")
    return found.tasks


def find_tasks(data: str | Path, names: Sequence[str] | None = None) -> FoundTasks:
    """Find the tasks of a data folder: packaged definitions, and `task.toml` or `*.task.toml` in it or in its folders.

    Args:
        data: the folder that packaged definitions name their folders below.
        names: of tasks, or of definitions with several subsets for all of these; None for all there are.

    Returns:
        The tasks, and why packaged ones (of those that are named) cannot be run.

    Raises:
        TaskError: the data folder does not exist, a definition cannot be used (where tasks are named: and one of these
            is in no other), two have the same name, or a name is not known (those that are known are listed).
        MissingDataError: a definition that lies in the folder (where tasks are named: one of these) has no data.
    """
    data = Path(data)
    if not data.is_dir():
        raise TaskError(f"no data folder {data}; give the folder that holds the data sets")
    own = sorted({file for pattern in _OWN_PATTERNS for file in data.glob(pattern)})
    definitions = [_Placed(definition, data) for definition in packaged_definitions()]
    faulty: TaskError | None = None
    for file in own:
        try:
            definitions += [_Placed(definition, file.parent, file) for definition in read_definitions(file)]
        except TaskError as fault:
            if names is None:
                raise
            faulty = faulty or fault
    _check_unique([placed.definition for placed in definitions])
    tasks: list[Task] = []
    missing: dict[str, str] = {}
    for placed in _chosen(definitions, names, faulty):
        try:
            tasks.append(placed.task())
        except MissingDataError as fault:
            if placed.file is not None:  # whoever put it beside the data meant it to be run
                raise MissingDataError(
                    f"task {placed.definition.name} of {placed.file} has no data: {fault}; correct the definition or "
                    "the file's name"
                ) from None
            missing[placed.definition.name] = str(fault)
    return FoundTasks(sorted(tasks, key=lambda task: task.name), missing)


class _Placed(NamedTuple):
    """A definition, what its folder is below, and the file that a user wrote it in; None for a packaged one."""

    definition: Definition
    data: Path
    file: Path | None = None

    def task(self) -> Task:
        """Return the task.

        Raises:
            MissingDataError: its data is not there.
        """
        definition, place = self.definition, self.definition.place(self.data)
        # Nothing is imported for what is not there; ir_datasets keeps its data elsewhere.
        if not (definition.folder.startswith(PREFIX) or place.is_dir()):
            raise MissingDataError(f"no folder {place}")
        return task_class(definition.kind).from_definition(definition, self.data)


def _check_unique(definitions: Sequence[Definition]) -> None:
    seen: set[str] = set()
    for definition in definitions:
        if definition.name in seen:
            raise TaskError(f"two tasks are called {definition.name!r}; give one of them another name")
        seen.add(definition.name)


def _chosen(definitions: Sequence[_Placed], names: Sequence[str] | None, faulty: TaskError | None) -> list[_Placed]:
    if names is None:
        return list(definitions)
    if isinstance(names, str):
        raise TaskError(f"expected a list of task names, not the single text {names!r}; put it in a list")
    chosen: dict[str, _Placed] = {}
    for name in names:
        found = [each for each in definitions if name in (each.definition.name, _family(each.definition))]
        if not found and faulty is not None:
            raise faulty  # it may be the one that is asked for
        if not found:
            known = sorted({_family(each.definition) for each in definitions})
            raise TaskError(f"no task {name!r}; one of {', '.join(known)}")
        chosen |= {each.definition.name: each for each in found}
    return list(chosen.values())


def _family(definition: Definition) -> str:
    """Return the name without the subset of a definition with several."""
    return definition.name.removesuffix(f".{definition.subset}") if definition.subsets else definition.name
