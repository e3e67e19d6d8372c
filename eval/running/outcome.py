"""What comes of running systems on tasks: results, what could not be measured, what failed, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from eval.tasks.base import TaskResult
from indexes.errors import StorageError
from retrieval.errors import RetrievalError

State = Literal["begun", "stored", "done", "skipped", "failed"]


class Skipped(NamedTuple):
    """A system that a task cannot measure.

    Attributes:
        task: name of the task.
        system: name of the system.
        reason: what the task says.
    """

    task: str
    system: str
    reason: str


class Failed(NamedTuple):
    """A measurement that ended in an error.

    Attributes:
        task: name of the task.
        system: name of the system.
        error: what it was.
    """

    task: str
    system: str
    error: Exception

    @property
    def reason(self) -> str:
        """The error in one line."""
        if isinstance(self.error, (RetrievalError, StorageError)):
            return str(self.error)
        return f"unexpected {type(self.error).__name__}: {self.error}"


class Step(NamedTuple):
    """How far a run is.

    Attributes:
        number: of the combination of system and task, from 1.
        total: combinations.
        task: name of the task.
        system: name of the system.
        state: what became of it.
        result: where there is one.
        reason: why it was skipped or failed.
    """

    number: int
    total: int
    task: str
    system: str
    state: State
    result: TaskResult | None = None
    reason: str = ""


@dataclass
class Comparison:
    """What came of a run.

    Attributes:
        results: of this run and stored ones, by task and system in the order in which these were given.
        skipped: combinations that cannot be measured.
        failed: combinations that should have been.
        n_stored: results that were there already.
    """

    results: list[TaskResult] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    n_stored: int = 0
