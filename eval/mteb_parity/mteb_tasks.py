"""Our tasks as tasks of mteb, on the same local data: mteb's own class where it has the task, else one of its kind.

Data are put into a task before it runs, so that mteb downloads nothing and its protocol stays exactly its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from eval.errors import TaskError
from eval.mteb_parity import ranking_data, text_data
from eval.mteb_parity.prepared import Prepared

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

    from eval.tasks.base import Task

SPLIT = "test"
"""What the measured part of the data is called in tasks that are made here."""

KINDS: dict[str, Callable[[Any], Prepared]] = {
    "STS": text_data.sts,
    "PairClassification": text_data.pair_classification,
    "Classification": text_data.classification,
    "Clustering": text_data.clustering,
    "BitextMining": text_data.bitext_mining,
    "Summarization": text_data.summarization,
    "Retrieval": ranking_data.retrieval,
    "LongDocumentRetrieval": ranking_data.retrieval,
    "Reranking": ranking_data.reranking,
}
"""What reads the data of each kind of ours."""

PUBLISHED = {
    **{
        name: name
        for name in (
            "AmazonCounterfactualClassification",
            "BIOSSES",
            "Banking77Classification",
            "NFCorpus",
            "STS12",
            "STS13",
            "STS14",
            "STS15",
            "STS16",
            "STSBenchmark",
            "SciFact",
            "SummEval",
            "SummEvalSummarization.v2",
            "Tatoeba",
            "XQuADRetrieval",
        )
    },
    "QMSum": "LEMBQMSumRetrieval",
}
"""Tasks of ours whose data are those of a task of mteb: its name by ours, without subset. The class is mteb's own."""

_SUBSETS = {"AmazonCounterfactualClassification": "en"}
"""Of tasks of mteb with several, where ours has none."""


class MtebTask(NamedTuple):
    """A task of mteb, ready to run.

    Attributes:
        task: with its data.
        name: mteb's name, or ours where mteb has no such task.
        split: that is measured.
        subset: likewise.
        published: whether the class is mteb's own.
    """

    task: AbsTask
    name: str
    split: str
    subset: str
    published: bool


def mteb_task(task: Task) -> MtebTask:
    """Return a task of ours as one of mteb.

    Raises:
        TaskError: mteb has no such kind, or the data cannot be read.
    """
    if task.kind not in KINDS:
        raise TaskError(f"task {task.name}: mteb has no kind {task.kind!r}; one of {', '.join(KINDS)}")
    definition = task.definition  # type: ignore[attr-defined]  # all packaged kinds have one
    prepared = KINDS[task.kind](task)
    family = task.name.removesuffix(f".{definition.subset}") if definition.subset else task.name
    name = PUBLISHED.get(family)
    if name is None:
        made = _made(task.name, prepared)
        _put(made, prepared.data, SPLIT, "default")
        return MtebTask(made, task.name, SPLIT, "default", published=False)
    subset = _SUBSETS.get(name) or definition.subset or "default"
    found, split = _own_task(name, subset)
    _put(found, prepared.data, split, subset)
    return MtebTask(found, name, split, subset, published=True)


def _own_task(name: str, subset: str) -> tuple[AbsTask, str]:
    """Return a task of mteb's own and the split that it measures; several tasks have a validation split beside it."""
    import mteb

    metadata = mteb.get_task(name).metadata
    if subset not in metadata.hf_subsets:
        raise TaskError(f"mteb's {name} has no subset {subset!r}")
    split = SPLIT if SPLIT in metadata.eval_splits else metadata.eval_splits[0]
    subsets = None if subset == "default" else [subset]
    return mteb.get_task(name, eval_splits=[split], hf_subsets=subsets), split


def _made(name: str, prepared: Prepared) -> AbsTask:
    """Make a task of mteb's abstract class for the kind."""
    from mteb.abstasks.task_metadata import TaskMetadata

    metadata = TaskMetadata(
        name=name,
        type=prepared.mteb_type,
        main_score=prepared.main_score,
        description="local data",
        reference=None,
        dataset={"path": "local", "revision": "local"},
        category="t2t",
        eval_splits=[SPLIT],
        eval_langs=["eng-Latn"],
        date=None,
        dialect=None,
        domains=None,
        task_subtypes=None,
        license=None,
        annotations_creators=None,
        modalities=["text"],
        sample_creation=None,
        bibtex_citation="",
    )
    attributes = {"metadata": metadata, **prepared.attributes}
    return type(name, (prepared.base,), attributes)()


def _put(task: AbsTask, data: Mapping[str, Any] | Any, split: str, subset: str) -> None:
    """Put data into a task: what mteb looks for is by subset (none for "default"), then by split."""
    from mteb.abstasks import AbsTaskRetrieval

    by_split = {(split if name == SPLIT else name): part for name, part in data.items()}
    if isinstance(task, AbsTaskRetrieval) or subset != "default":
        task.dataset = {subset: by_split}
    else:
        task.dataset = by_split
    task.data_loaded = True
