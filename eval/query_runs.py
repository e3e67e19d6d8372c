"""Running a test set's queries against a search: the rankings, and what each stage of the searches took."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from eval.errors import RunError
from eval.measures import Ranking
from eval.testsets import TestSet


class ScoredDocument(NamedTuple):
    """A found document, as a search function of one's own may return it; a collection's hits have the same names."""

    id: str
    score: float


class Scored(Protocol):
    """A found document, whatever else it holds."""

    @property
    def id(self) -> str:
        """Of the document."""

    @property
    def score(self) -> float:
        """By which documents are ordered."""


SearchMany = Callable[[Sequence[str], int], Sequence[Iterable[Scored]]]
"""From query texts and k to the best k documents for each text, best first."""


@dataclass(frozen=True)
class StageCost:
    """What a stage of the searches took, all queries together.

    Attributes:
        name: the retriever or reranker; "fusion" where lists were fused.
        queries: how many were searched.
        documents: that it returned (retrievers, fusion) or scored (rerankers).
        calls: inputs that went through a reranker's model.
        seconds: wall time.
    """

    name: str
    queries: int
    documents: int
    calls: int
    seconds: float

    def __str__(self) -> str:
        calls = f", {self.calls / self.queries:,.1f} model calls" if self.calls else ""
        time = f"{self.seconds / self.queries * 1000:,.1f} ms"
        return f"{self.documents / self.queries:,.1f} documents{calls}, {time} (means a query, in batches)"


@dataclass(frozen=True)
class RunResult:
    """What came of running a test set's queries.

    Attributes:
        run: rankings by query id; a query without results has an empty one.
        modes: the modes that ran, as the results name them; empty for a search that names none.
        seconds: wall time of all searches.
        blank_queries: queries without any text; they are not sent, and count as missing.
        stages: what each stage of the searches took, for a search whose results say so.
    """

    run: dict[str, Ranking] = field(repr=False)
    modes: tuple[str, ...]
    seconds: float
    blank_queries: int
    stages: tuple[StageCost, ...] = ()


def run_queries(
    search_many: SearchMany, testset: TestSet, k: int, batch_size: int = 256, progress: bool = False
) -> RunResult:
    """Search with every query of a test set.

    Args:
        search_many: the search, see `SearchMany`.
        testset: its judged queries are run, in order.
        k: documents a query.
        batch_size: queries a call.
        progress: show a progress bar.

    Raises:
        RunError: the search answers another number of queries than it was asked, or with more than k documents.
    """
    if k < 1 or batch_size < 1:
        raise RunError(f"k and the batch size must be at least 1, not {k} and {batch_size}")
    query_ids = [query_id for query_id, text in testset.queries.items() if text.strip()]
    run: dict[str, Ranking] = {}
    modes: dict[str, None] = {}
    stages: dict[str, list[StageCost]] = {}
    seconds = 0.0
    for start in _tracked(range(0, len(query_ids), batch_size), f"searching {testset.name}", progress):
        batch = query_ids[start : start + batch_size]
        began = time.perf_counter()
        answers = search_many([testset.queries[query_id] for query_id in batch], k)
        seconds += time.perf_counter() - began
        if len(answers) != len(batch):
            raise RunError(f"the search was asked {len(batch)} queries and answered {len(answers)}")
        for query_id, answer in zip(batch, answers, strict=True):
            run[query_id] = [(hit.id, float(hit.score)) for hit in answer]
            if len(run[query_id]) > k:
                raise RunError(
                    f"query {query_id!r}: the search was asked for {k} documents, it gave {len(run[query_id])}"
                )
            mode = getattr(answer, "mode", None)
            if mode is not None:
                modes[str(mode)] = None
            for stage in getattr(answer, "stages", ()):
                # A stage's time is that of all queries that were searched together.
                cost = StageCost(stage.name, 1, stage.documents, stage.calls, stage.seconds / stage.queries)
                stages.setdefault(stage.name, []).append(cost)
    costs = tuple(_total(each) for each in stages.values())
    return RunResult(run, tuple(modes), seconds, blank_queries=len(testset.queries) - len(query_ids), stages=costs)


def _total(costs: Sequence[StageCost]) -> StageCost:
    """Add up what a stage took for each query."""
    return StageCost(
        costs[0].name,
        len(costs),
        sum(cost.documents for cost in costs),
        sum(cost.calls for cost in costs),
        math.fsum(cost.seconds for cost in costs),
    )


def _tracked(steps: range, description: str, progress: bool) -> Iterable[int]:
    if not progress:
        return steps
    from rich.progress import track

    return track(steps, description=description, transient=True)
