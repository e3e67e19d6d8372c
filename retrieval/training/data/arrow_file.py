"""Examples in an Arrow file of the run's own folder: shuffled access to more than memory holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import TrainingDataError
from retrieval.training.data.examples import ExampleReport, columns_of
from retrieval.training.data.sources import Source, read_source
from retrieval.training.recipe import Recipe

_ROWS = 1000  # a batch on disk


@dataclass(frozen=True)
class StoredExamples:
    """What was read.

    Attributes:
        path: the Arrow file; its columns are those of `columns_of`, in that order.
        counts: examples of each source, in the order in which they stand in the file.
        sources: what the sources are called.
        reports: one line on each source.
        classes: names of the classes of labelled pairs, by number.
    """

    path: Path
    counts: list[int]
    sources: list[str]
    reports: list[str]
    classes: list[str] = field(default_factory=list)

    @property
    def tasks(self) -> np.ndarray:
        """The number of each example's source, (n,) int64."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def dataset(self) -> Any:
        """Return a memory-mapped `datasets.Dataset`."""
        from datasets import Dataset

        return Dataset.from_file(str(self.path))


def store_examples(folder: Path, sources: Sequence[Source], recipe: Recipe, *, strict: bool = False) -> StoredExamples:
    """Read all sources into `folder/examples.arrow`, one after another; memory holds a thousand examples.

    Args:
        folder: exists; what an earlier call left is replaced.
        sources: at least one.
        recipe: kind of examples.
        strict: the first bad row is an error.

    Raises:
        TrainingDataError: a source is unusable, or holds no example.
        DocumentError: a file cannot be opened, or a row is bad and `strict`.
    """
    import pyarrow

    columns = columns_of(recipe)
    types = {"label": pyarrow.int64(), "score": pyarrow.float32(), "scores": pyarrow.list_(pyarrow.float32())}
    schema = pyarrow.schema([(name, types.get(name, pyarrow.string())) for name in columns])
    path = folder / "examples.arrow"
    counts, lines = [], []
    classes: list[str] = []
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, schema) as writer:
        for source in sources:
            report = ExampleReport(strict=strict, classes=classes)
            examples = read_source(source, recipe, report)
            while batch := list(islice(examples, _ROWS)):
                writer.write_batch(pyarrow.RecordBatch.from_pylist(batch, schema=schema))
            if not report.read:
                raise TrainingDataError(f"no example of kind {recipe.data} in {source.path}: {report.summary()}")
            counts.append(report.read)
            lines.append(report.summary())
    stored = StoredExamples(path, counts, _unique([source.name for source in sources]), lines, classes)
    content = {"counts": counts, "sources": stored.sources, "reports": lines, "classes": classes}
    (folder / "examples.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
    return stored


def _unique(names: list[str]) -> list[str]:
    """Return names of which none comes twice: a repeated one gets the number of its source."""
    return [f"{name} [{number}]" if names.count(name) > 1 else name for number, name in enumerate(names, start=1)]


def stored_examples(folder: Path) -> StoredExamples:
    """Return what an interrupted run had read.

    Raises:
        TrainingDataError: its files are missing or damaged.
    """
    try:
        content = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
        return StoredExamples(path=folder / "examples.arrow", **content)
    except (OSError, ValueError, TypeError) as error:
        raise TrainingDataError(f"{folder} does not hold the examples of a run: {error}; start it again") from None
