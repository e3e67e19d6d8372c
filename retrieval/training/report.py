"""What a training run did, as it is returned, written to training.json and shown in the model card."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from retrieval.training.recipe import Recipe


@dataclass(frozen=True)
class TrainingReport:
    """What a run did.

    Attributes:
        out: folder of the trained model.
        recipe: its settings.
        counts: examples of each source.
        data: one line on each source: what was read and skipped.
        steps: optimiser steps.
        seconds: wall time of training in this process, without reading and measuring.
        full_texts: part of the texts that had as many tokens as are read, longer ones were cut; of a ranking network
            part of its inputs, None where it does not say.
        losses: (step, mean loss since the entry before).
        before: measures of the untrained model.
        after: measures of the trained one.
        kind: of the model: "dense" or "sparse" for an encoder, "mono", "duo" and so on for a reranker.
        resumed: an earlier process had begun the run.
        versions: of the packages that have a say.
        execution: device and precision.
        notes: what the loss has to say of the run, see `retrieval.training.hooks`.
    """

    out: Path
    recipe: Recipe
    counts: dict[str, int]
    data: list[str]
    steps: int
    seconds: float
    full_texts: float | None
    losses: list[tuple[int, float]]
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    kind: str = "dense"
    resumed: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    execution: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        values = {**self.__dict__, "recipe": self.recipe.as_dict()}
        del values["out"]
        return values
