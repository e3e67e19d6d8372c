"""What tasks on files have in common: a name, an identity, and how a run of them begins and fails."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import msgspec

from eval.errors import EvaluationError, TaskError
from eval.tasks.base import Surroundings, TaskResult
from eval.tasks.definition import Definition
from eval.tasks.system import System
from indexes.storage import sha256_of

D = TypeVar("D", bound=Definition)


class FileTask(ABC, Generic[D]):
    """A task on the files that a definition names.

    Args:
        definition: of the task.
        data: what its folder is below.
    """

    kind: ClassVar[str]
    """As MTEB calls it."""

    def __init__(self, definition: D, data: Path) -> None:
        self.definition = definition
        self.data = data

    @classmethod
    def from_definition(cls, definition: D, data: Path) -> Self:
        """Return the task; nothing is read yet.

        Raises:
            MissingDataError: a file that the definition names does not exist.
        """
        task = cls(definition, data)
        task.files()
        return task

    @property
    def name(self) -> str:
        """Unique among the tasks of a run."""
        return self.definition.name

    @abstractmethod
    def files(self) -> list[Path]:
        """Return the files that are read.

        Raises:
            MissingDataError: one does not exist.
        """

    @abstractmethod
    def problem(self, system: System) -> str | None:
        """Say why a system cannot be measured on this task; None when it can."""

    def run(self, system: System, surroundings: Surroundings) -> TaskResult:
        """Measure a system.

        Raises:
            TaskError: the system cannot be measured, or the data cannot be read or measured.
        """
        problem = self.problem(system)
        if problem is not None:
            raise TaskError(f"task {self.name}: {problem}")
        try:
            return self._measured(system, surroundings)
        except TaskError:
            raise
        except EvaluationError as fault:
            raise TaskError(f"task {self.name}: {fault}") from None

    @abstractmethod
    def _measured(self, system: System, surroundings: Surroundings) -> TaskResult:
        """Measure a system that has no problem with the task."""

    def identity(self) -> Mapping[str, Any]:
        """Return the definition, its published figures, and the files' digests by their paths below its folder."""
        place = self.definition.place(self.data)
        files = {file.relative_to(place).as_posix(): sha256_of(file) for file in self.files()}
        figures = msgspec.to_builtins(self.definition.references)
        return {"definition": self.definition.as_dict(), "references": figures, "files": files}
