"""What a task is, and what comes of running one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from eval.measures import Policies
from eval.tasks.system import System

EQUAL_SCORES = "equal scores"
"""Policy: what a system itself does with documents of equal scores, other than how a measure reads them ("ties")."""


@dataclass(frozen=True)
class Reference:
    """A figure that somebody else published.

    Attributes:
        value: of the main score.
        source: who measured it, with what.
        tolerance: how near ours has to be for the same system; None for one that differs in a stated way.
    """

    value: float
    source: str
    tolerance: float | None = None


@dataclass(frozen=True)
class TaskResult:
    """One system on one task.

    Attributes:
        task: name of the task.
        kind: of the task, as MTEB calls it: "Retrieval", "STS", "Clustering".
        system: name of the system.
        main_score: which of the scores counts.
        scores: by name, the main one among them; higher is better.
        values: the main score of each item (query, text, experiment) by id, where the main score is their mean; empty
            where it is not. Two systems are compared over them in pairs.
        gold: what people said of each pair, where the main score is a rank correlation; empty elsewhere.
        predicted: the system's similarity of each of these pairs.
        n_items: queries, pairs or texts that were measured.
        policies: what the measures leave open, as it was decided: a sentence for each.
        counts: what was not as it should be: missing queries, cut texts, blank texts; only those above zero.
        costs: what it took: "seconds", "encode_tokens_per_second", "query_p50_ms", "bytes_per_document" and so on.
        settings: facts about task and system that decide the scores: split, prompts, identity of the encoder, seed.
        reference: a published figure for this system on this task.
        queries: text by item id, for reading wins and losses; empty where items are no queries.
    """

    task: str
    kind: str
    system: str
    main_score: str
    scores: dict[str, float]
    values: dict[str, float] = field(default_factory=dict, repr=False)
    gold: list[float] = field(default_factory=list, repr=False)
    predicted: list[float] = field(default_factory=list, repr=False)
    n_items: int = 0
    policies: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    reference: Reference | None = None
    queries: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def score(self) -> float:
        """The main score."""
        return self.scores[self.main_score]


def _as_it_is(collection: Any) -> Any:
    return collection


@dataclass(frozen=True)
class Surroundings:
    """What a run of tasks shares.

    Attributes:
        workspace: folder for collections and caches; tasks make their own folders below it and find them again.
        policies: what the measures leave open.
        seed: of whatever is drawn.
        latency_sample: single searches that are timed; 0 for none.
        progress: show progress bars.
        share: takes a collection and returns what searches as it does, with the beginnings that the pipelines of a
            run's systems have in common computed once; tasks search what it returns.
    """

    workspace: Path
    policies: Policies = field(default_factory=Policies)
    seed: int = 42
    latency_sample: int = 0
    progress: bool = False
    share: Callable[[Any], Any] = field(default=_as_it_is, repr=False)


class Task(Protocol):
    """Something that a system can be measured on; a class for each kind."""

    @property
    def name(self) -> str:
        """Unique among the tasks of a run."""

    @property
    def kind(self) -> str:
        """As MTEB calls it."""

    def problem(self, system: System) -> str | None:
        """Say why a system cannot be measured on this task; None when it can."""

    def identity(self) -> Mapping[str, Any]:
        """Return what decides the scores beside the system, as JSON values: definition, digests of the files."""

    def run(self, system: System, surroundings: Surroundings) -> TaskResult:
        """Measure a system.

        Raises:
            TaskError: the data cannot be read or measured.
        """
