"""Training within a study: by the public recipes, once for each folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from retrieval.errors import TrainingError
from retrieval.execution.precision import processor_has_bf16
from retrieval.training import Recipe, train
from retrieval.training.data import Source


class Trained(NamedTuple):
    """A trained model.

    Attributes:
        folder: of the model.
        seconds: wall time of training.
        steps: optimiser steps.
        notes: what the loss says of the run.
    """

    folder: Path
    seconds: float
    steps: int
    notes: dict[str, object]


def fast_precision() -> Literal["fp32", "bf16"]:
    """Return what the processor trains fastest in: mixed bf16 where it has instructions for it."""
    return "bf16" if processor_has_bf16() else "fp32"


def trained(recipe: Recipe, sources: Sequence[Source | Path], folder: Path) -> Trained:
    """Train a model, go on with an interrupted run, or take what an earlier call with the same recipe has trained.

    Raises:
        TrainingError: the folder holds a model of another recipe.
    """
    report = folder / "training.json"
    if not report.is_file():
        train(
            recipe,
            [source if isinstance(source, Source) else Source(source) for source in sources],
            folder,
            resume=True,
        )
    stored = json.loads(report.read_text(encoding="utf-8"))
    wanted = json.loads(json.dumps(recipe.checked().as_dict()))
    if stored["recipe"] != wanted:
        changed = [key for key in wanted if stored["recipe"].get(key) != wanted[key]]
        raise TrainingError(f"{folder} was trained with another {', '.join(changed)}; take another --workspace")
    return Trained(folder, stored["seconds"], stored["steps"], stored["notes"])
