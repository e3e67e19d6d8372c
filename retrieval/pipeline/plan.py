"""What a pipeline costs, before it runs: candidates and model calls of each stage, for one query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from retrieval.errors import QueryError
from retrieval.pipeline.stages import Pipeline, known
from retrieval.pipeline.stored_states import StateReranker

if TYPE_CHECKING:
    from retrieval.rerankers.base import Reranker


@dataclass(frozen=True)
class PlannedStage:
    """A reranker's share.

    Attributes:
        name: of the reranker.
        candidates: documents that it will score for one query.
        calls: how often its model will be called for them at most: inputs that go through it. With stored states that
            is the query alone; what the network does with both sides (`interact`) is not counted.
        states: of the candidates, those whose stored states are read instead of their texts.
    """

    name: str
    candidates: int
    calls: int
    states: int = 0


@dataclass(frozen=True)
class Plan:
    """What one query costs, if the first stage returns `retrieved` documents.

    With fewer documents each stage takes what there is, and `Pipeline.plan` with their number says what that costs;
    what ran is in the results' `stages`.

    Attributes:
        pipeline: what is planned.
        retrieved: documents that the first stage returns.
        stages: the rerankers, in their order, those that are switched off included.
    """

    pipeline: Pipeline
    retrieved: int
    stages: tuple[PlannedStage, ...]

    @property
    def calls(self) -> int:
        """Model calls of all stages."""
        return sum(stage.calls for stage in self.stages)

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            "pipeline": str(self.pipeline),
            "retrieved": self.retrieved,
            "stages": [asdict(stage) for stage in self.stages],
            "calls": self.calls,
        }

    def __str__(self) -> str:
        lines = [f"{self.pipeline.first}: up to {self.retrieved:,} documents"]
        lines += [
            f"{stage.name}: {stage.candidates:,} candidates{' by stored states' if stage.states else ''}, "
            f"{stage.calls:,} model {'call' if stage.calls == 1 else 'calls'}"
            if stage.candidates
            else f"{stage.name}: no candidates"
            for stage in self.stages
        ]
        return "\n".join([*lines, f"{self.calls:,} model calls a query"])


def make_plan(
    pipeline: Pipeline, rerankers: Mapping[str, Reranker | StateReranker], n_candidates: int | None = None
) -> Plan:
    """Return the plan of a pipeline; see `Pipeline.plan`."""
    if n_candidates is not None and n_candidates < 0:
        raise QueryError(f"the number of candidates must be at least 0, not {n_candidates}")
    check_known(pipeline, rerankers)
    retrieved = pipeline.retrieved if n_candidates is None else min(n_candidates, pipeline.retrieved)
    stages = []
    for name, limit in pipeline.rerankers:
        scored = n_scored(rerankers[name], min(limit, retrieved))
        calls = rerankers[name].calls(scored) if scored else 0
        stages.append(PlannedStage(name, scored, calls, scored if isinstance(rerankers[name], StateReranker) else 0))
    return Plan(pipeline, retrieved, tuple(stages))


def n_scored(reranker: Reranker | StateReranker, n_admitted: int) -> int:
    """Return how many of the admitted documents a stage scores: all, or none.

    A single one that costs no model call, as with a pairwise reranker, is not scored: there is nothing to order.
    """
    return 0 if n_admitted == 1 and reranker.calls(1) == 0 else n_admitted


def check_known(pipeline: Pipeline, names: Mapping[str, object]) -> None:
    """Refuse a pipeline with a reranker that was not given.

    Raises:
        QueryError: naming it, and those that were given.
    """
    for name, _ in pipeline.rerankers:
        if name not in names:
            raise QueryError(
                f"no reranker {name!r} for the stages {str(pipeline)!r}; there are: {known(names)}; add it with "
                f"rerankers={{{name!r}: …}}"
            )
