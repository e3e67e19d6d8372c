"""Running a test set's queries against a search, and what that takes: the run, and the latency of single searches."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from eval.embedding_cache import without_embedding_cache
from eval.errors import MeasureError, RunError
from eval.measures import DEFAULT_MEASURES, Policies, Ranking, depth_needed, evaluate_run, parse_measures
from eval.provenance import package_versions
from eval.report import Latency, Report, StageCost
from eval.testsets import TestSet

_LOGGER = logging.getLogger(__name__)
_WARM_UP = 5  # single searches before the clock runs: they map files, load kernels and fill caches


class ScoredDocument(NamedTuple):
    """A found document, as a search function of one's own may return it; a collection's hits have the same names."""

    id: str
    score: float


class _Scored(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def score(self) -> float: ...


SearchMany = Callable[[Sequence[str], int], Sequence[Iterable[_Scored]]]
"""From query texts and k to the best k documents for each text, best first."""


class Searchable(Protocol):
    """What can be evaluated: a collection, or anything with its two ways to search."""

    @property
    def search(self) -> Callable[..., Iterable[_Scored]]:
        """Search with one query: `search(text, k=…, **options)`."""

    @property
    def search_many(self) -> Callable[..., Sequence[Iterable[_Scored]]]:
        """Search with several queries: `search_many(texts, k=…, **options)`."""


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


def measure_latency(
    search: Callable[[str], object], texts: Iterable[str], sample: int = 200, seed: int = 0
) -> Latency | None:
    """Time single searches, one after another, in a warm process.

    Args:
        search: one search.
        texts: queries; blank ones are left out.
        sample: how many of them, drawn with `seed`, without repetition; a few more run before the clock does.
        seed: of the draw.

    Returns:
        Wall times; None where there is nothing to measure.
    """
    usable = [text for text in texts if text.strip()]
    if not usable or sample < 1:
        return None
    chosen = random.Random(seed).sample(usable, min(sample, len(usable)))
    times = []  # milliseconds
    with without_embedding_cache():
        for text in chosen[:_WARM_UP]:
            search(text)
        for text in chosen:
            began = time.perf_counter()
            search(text)
            times.append((time.perf_counter() - began) * 1000)
    p50, p95, p99 = (float(value) for value in np.percentile(times, [50, 95, 99]))
    return Latency(n=len(times), mean=float(np.mean(times)), p50=p50, p95=p95, seed=seed, p99=p99)


def evaluate_collection(
    collection: Searchable,
    testset: TestSet,
    measures: Sequence[str] = DEFAULT_MEASURES,
    *,
    k: int | None = None,
    policies: Policies | None = None,
    latency_sample: int = 200,
    latency_k: int = 10,
    batch_size: int = 256,
    progress: bool = False,
    settings: Mapping[str, Any] | None = None,
    **options: Any,
) -> Report:
    """Run a test set's queries against a collection and measure what they find.

    Args:
        collection: what is measured.
        testset: queries and judgements.
        measures: names, see `parse_measures`.
        k: documents a query; by default as many as the measures look at.
        policies: what the measures leave open.
        latency_sample: queries whose single searches are timed afterwards; 0 leaves that out.
        latency_k: documents that a timed search asks for.
        batch_size: queries a batch.
        progress: show a progress bar.
        settings: facts about the collection for the report; by default what its `stats()` says.
        **options: passed on to every search: mode=, stages=, rerankers=, where=, bm25=, fusion= and so on.

    Raises:
        MeasureError: a measure is unknown or looks deeper than k; nothing has been searched then.
        RunError: the search answers what a run cannot hold.
    """
    policies = policies or Policies()
    parsed = parse_measures(measures)
    cut = next((measure for measure in parsed if k is not None and measure.params.get("cutoff", 0) > k), None)
    if cut is not None:
        raise MeasureError(f"{cut} looks at more documents than k={k} retrieves; raise k or leave it out")
    # One more than is measured makes up for the document that a self-match takes away.
    depth = k if k is not None else depth_needed(parsed) + policies.ignore_identical_ids
    result = run_queries(
        lambda texts, n: collection.search_many(texts, k=n, **options), testset, depth, batch_size, progress
    )
    evaluation = evaluate_run(result.run, testset.qrels, measures, policies)
    if evaluation.missing:
        fate = "score 0" if policies.missing == "zero" else "may not count, as the policies say"
        _LOGGER.warning("%d judged queries have no results; they %s", len(evaluation.missing), fate)
    latency = measure_latency(
        lambda text: collection.search(text, k=latency_k, **options), testset.queries.values(), latency_sample
    )
    return Report(
        testset=testset.name,
        split=testset.split,
        language=testset.language,
        evaluation=evaluation,
        policies=policies,
        k=depth,
        modes=result.modes,
        seconds=result.seconds,
        n_queries=len(testset.queries),
        queries_without_text=len(testset.queries_without_text),
        blank_queries=result.blank_queries,
        unknown_documents=_unknown_documents(collection, testset),
        latency=latency,
        latency_k=latency_k,
        stages=result.stages,
        options=options,
        settings=_facts(collection) if settings is None else settings,
        versions=package_versions(),
        run=result.run,
    )


def _facts(collection: object) -> Mapping[str, Any]:
    stats = getattr(collection, "stats", None)
    return stats() if callable(stats) else {}


def _unknown_documents(collection: object, testset: TestSet) -> int | None:
    """Count relevant documents that are not in the collection; None for a search that cannot say."""
    if not hasattr(collection, "__contains__"):
        return None
    relevant = {document_id for grades in testset.qrels.values() for document_id, grade in grades.items() if grade > 0}
    return sum(document_id not in collection for document_id in relevant)


def _tracked(steps: range, description: str, progress: bool) -> Iterable[int]:
    if not progress:
        return steps
    from rich.progress import track

    return track(steps, description=description, transient=True)
