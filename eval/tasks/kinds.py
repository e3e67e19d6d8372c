"""Which kinds of task there are: the class of each one's definition and the class that runs it.

The contract of a kind, for adding one: a definition class derived from `eval.tasks.definition.Definition` (or
`TextDefinition`) whose fields are the keys of its TOML files, and a task class (`eval.tasks.base.Task`) with

    @classmethod
    def from_definition(cls, definition: Definition, data: Path) -> Self

that keeps both, reads nothing yet, and raises `MissingDataError` where the files that the definition names do not exist
below `data`. Classes are named here by module and name, so that looking a kind up imports only what it needs.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from eval.errors import TaskError
from eval.tasks.base import Task
from eval.tasks.definition import Definition


class TaskClass(Protocol):
    """What makes tasks of one kind."""

    def from_definition(self, definition: Any, data: Path) -> Task:
        """Return a task on data below a folder; nothing is read yet.

        Raises:
            MissingDataError: a file that the definition names does not exist.
        """


@dataclass(frozen=True)
class Kind:
    """Where the two classes of a kind are.

    Attributes:
        definition: "module:class" of its definitions.
        task: "module:class" of what runs it.
    """

    definition: str
    task: str


KINDS: dict[str, Kind] = {
    "STS": Kind("eval.tasks.sts:STSDefinition", "eval.tasks.sts:STSTask"),
    "PairClassification": Kind(
        "eval.tasks.pair_classification:PairClassificationDefinition",
        "eval.tasks.pair_classification:PairClassificationTask",
    ),
    "Classification": Kind(
        "eval.tasks.classification:ClassificationDefinition", "eval.tasks.classification:ClassificationTask"
    ),
    "Clustering": Kind("eval.tasks.clustering:ClusteringDefinition", "eval.tasks.clustering:ClusteringTask"),
    "BitextMining": Kind(
        "eval.tasks.bitext_mining:BitextMiningDefinition", "eval.tasks.bitext_mining:BitextMiningTask"
    ),
    "Summarization": Kind(
        "eval.tasks.summarization:SummarizationDefinition", "eval.tasks.summarization:SummarizationTask"
    ),
    "Retrieval": Kind("eval.tasks.ranking_definitions:RetrievalDefinition", "eval.tasks.retrieval:RetrievalTask"),
    "LongDocumentRetrieval": Kind(
        "eval.tasks.ranking_definitions:LongDocumentRetrievalDefinition",
        "eval.tasks.long_documents:LongDocumentRetrievalTask",
    ),
    "Reranking": Kind("eval.tasks.ranking_definitions:RerankingDefinition", "eval.tasks.reranking:RerankingTask"),
}
"""By the name that MTEB gives the kind."""


def definition_class(kind: str) -> type[Definition]:
    """Return the class of a kind's definitions.

    Raises:
        TaskError: no such kind.
    """
    return cast(type[Definition], _imported(_entry(kind).definition))


def task_class(kind: str) -> TaskClass:
    """Return the class that runs tasks of a kind.

    Raises:
        TaskError: no such kind.
    """
    return cast(TaskClass, _imported(_entry(kind).task))


def _entry(kind: str) -> Kind:
    if kind not in KINDS:
        raise TaskError(f"no kind of task {kind!r}; one of {', '.join(sorted(KINDS))}")
    return KINDS[kind]


def _imported(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
