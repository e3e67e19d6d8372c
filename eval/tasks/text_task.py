"""What the kinds of task over vectors of texts share: their files, their identity, and how a run becomes a result."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from eval.tasks.base import Surroundings, TaskResult
from eval.tasks.definition import TextDefinition
from eval.tasks.file_task import FileTask
from eval.tasks.system import System
from eval.tasks.tables import existing_file
from eval.tasks.text_vectors import TextVectors

D = TypeVar("D", bound=TextDefinition)

TEXT_POLICIES = {
    "what is measured": "the encoder's vectors; how a system searches and reranks has no part in it",
    "truncation": "what is beyond the encoder's maximum of tokens is not read; such texts are counted",
    "blank texts": "are encoded like any other, and counted",
    "duplicate texts": "are encoded once and count as often as they come",
}


@dataclass(frozen=True)
class Measured:
    """What a kind of task finds out; the fields are those of `TaskResult`."""

    scores: dict[str, float]
    n_items: int
    values: dict[str, float] = field(default_factory=dict)
    gold: list[float] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)
    policies: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


class TextTask(FileTask[D]):
    """A task over vectors of texts; each kind derives a class of its own and says what is measured.

    Args:
        definition: of the task.
        data: what its folder is below.
    """

    main_score: ClassVar[str]
    """The score that counts."""

    def file_names(self) -> list[str]:
        """Return the files that are read, below the definition's folder."""
        return [self.definition.file]

    def files(self) -> list[Path]:
        """Return the files that are read.

        Raises:
            MissingDataError: one does not exist.
        """
        return [existing_file(self.definition.place(self.data), name) for name in self.file_names()]

    def problem(self, system: System) -> str | None:
        """Say why a system cannot be measured on this task; None when it can."""
        if system.encoder is None:
            return f"{self.kind} compares vectors, and {system.name} has no encoder"
        return None

    @abstractmethod
    def measure(self, vectors: TextVectors, seed: int) -> Measured:
        """Read the data, encode it and score it.

        Args:
            vectors: what encodes texts.
            seed: of whatever is drawn.

        Raises:
            TaskError: the data cannot be measured.
        """

    def _measured(self, system: System, surroundings: Surroundings) -> TaskResult:
        """Encode the texts with the system's encoder, and score its vectors."""
        assert system.encoder is not None  # or it had a problem
        started = time.perf_counter()
        definition = self.definition
        vectors = TextVectors(
            system.encoder, side=definition.encode, prompt=definition.prompt, progress=surroundings.progress
        )
        measured = self.measure(vectors, surroundings.seed)
        prompt = "the encoder's own for " + definition.encode
        if definition.prompt:
            prompt += f", then {definition.prompt!r} of the definition"
        return TaskResult(
            task=self.name,
            kind=self.kind,
            system=system.name,
            main_score=self.main_score,
            scores=measured.scores,
            values=measured.values,
            gold=measured.gold,
            predicted=measured.predicted,
            n_items=measured.n_items,
            policies=TEXT_POLICIES | {"prompts": prompt} | measured.policies,
            counts={name: count for name, count in (vectors.counts | measured.counts).items() if count},
            costs={
                "seconds": time.perf_counter() - started,
                "encode_seconds": vectors.seconds,
                "encode_tokens_per_second": vectors.tokens / vectors.seconds if vectors.seconds else 0.0,
            },
            settings={
                "split": definition.split,
                "subset": definition.subset,
                "encoder": system.encoder.identity(),
                **measured.settings,
            },
            reference=definition.reference_for(system),
        )
