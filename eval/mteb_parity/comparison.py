"""One task measured three times: by mteb with its own encoder, by mteb with ours, and by our own kind of task."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.errors import TaskError
from eval.mteb_parity.mteb_tasks import MtebTask, mteb_task
from eval.tasks.base import Surroundings
from eval.tasks.system import System

if TYPE_CHECKING:
    from eval.mteb_models.encoder import MtebEncoder
    from eval.tasks.base import Task
    from retrieval.encoders import Encoder


@dataclass(frozen=True)
class Sides:
    """What measures each task.

    Attributes:
        encoder: ours.
        model: the same model as mteb wraps it.
        adapted: our encoder as mteb's model; None leaves that side out.
        surroundings: of our run; its policies decide how rankings are measured.
        published: published figures of the model, see `read_published`.
    """

    encoder: Encoder
    model: Any
    adapted: MtebEncoder | None
    surroundings: Surroundings
    published: Mapping[tuple[str, str, str], float]


@dataclass(frozen=True)
class Parity:
    """What came of one task.

    Attributes:
        task: our name.
        kind: of the task.
        score: mteb's name of the main score.
        n_items: what our side measured.
        mteb: by mteb, its sentence-transformers wrapper over the same folder.
        adapted: by mteb, our encoder as its model; None where that was left out.
        ours: by our kind of task.
        published: for this model in the published results; None where there is none.
        mteb_task: mteb's name of the task; ours where it has no such task and its abstract class measured.
    """

    task: str
    kind: str
    score: str
    n_items: int
    mteb: float
    adapted: float | None
    ours: float
    published: float | None
    mteb_task: str

    @property
    def difference(self) -> float:
        """Ours minus mteb's."""
        return self.ours - self.mteb

    def equals(self, tolerance: float) -> bool:
        """Tell whether both of ours are as near to mteb's as that; never where one of them is not a number."""
        adapted = self.mteb if self.adapted is None else self.adapted
        return abs(self.difference) <= tolerance and abs(adapted - self.mteb) <= tolerance

    @property
    def published_difference(self) -> float | None:
        """Ours minus the published figure."""
        return None if self.published is None else self.ours - self.published


def compare(task: Task, sides: Sides) -> Parity:
    """Measure one task of ours on all sides.

    Raises:
        TaskError: mteb has no such kind, or a side cannot measure it.
    """
    made = mteb_task(task)
    result = task.run(System("all-MiniLM-L6-v2", sides.encoder), sides.surroundings)
    scores = run_mteb(sides.model, made)
    return Parity(
        task=task.name,
        kind=task.kind,
        score=made.task.metadata.main_score,
        n_items=result.n_items,
        mteb=scores["main_score"],
        adapted=None if sides.adapted is None else run_mteb(sides.adapted, mteb_task(task))["main_score"],
        ours=result.score,
        published=sides.published.get((made.name, made.split, made.subset)) if made.published else None,
        mteb_task=made.name,
    )


def run_mteb(model: Any, made: MtebTask) -> dict[str, Any]:
    """Return mteb's scores of a model on a task.

    Tasks draw from generators of their own: make a new one for each run.

    Raises:
        TaskError: mteb gives no score.
    """
    import mteb

    results = mteb.evaluate(
        model,
        tasks=[made.task],
        cache=None,
        encode_kwargs={"batch_size": 32, "show_progress_bar": False},
        show_progress_bar=False,
    )
    for scores in results.task_results[0].scores[made.split]:
        if scores["hf_subset"] == made.subset:
            return dict(scores)
    raise TaskError(f"mteb gives no score for {made.name}, split {made.split!r}, subset {made.subset!r}")


def read_published(file: Path, model: str) -> dict[tuple[str, str, str], float]:
    """Read a model's published main scores, by task, split and subset as mteb calls them.

    Args:
        file: TSV under a header with the columns task, model, split, subset and main_score.
        model: "organisation/model".

    Raises:
        TaskError: the file cannot be read or lacks a column.
    """
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
        return {
            (row["task"], row["split"], row["subset"]): float(row["main_score"])
            for row in rows
            if row["model"] == model
        }
    except OSError as fault:
        raise TaskError(f"cannot read published scores from {file}: {fault.strerror or fault}") from None
    except (KeyError, ValueError) as fault:
        raise TaskError(f"{file} is no table of task, model, split, subset and main_score ({fault})") from None
