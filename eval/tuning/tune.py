"""Tuning a pipeline's numbers on a test set's development judgements."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from eval.errors import TuningError
from eval.latency import Latency, measure_latency
from eval.measures import DEFAULT_MEASURES, Evaluation, Policies, depth_needed, evaluate_run, parse_measures
from eval.query_runs import RunResult, run_queries
from eval.testsets import TestSet
from eval.tuning.grid import make_grid
from eval.tuning.report import Check, Setting, TuningReport, best_setting, pareto_set
from eval.tuning.simulation import Searchable, Simulated, Simulation, simulate
from retrieval.pipeline.given import as_pipeline
from retrieval.pipeline.grammar import StagesSpec, parse_stages
from retrieval.pipeline.stages import Pipeline

_LOGGER = logging.getLogger(__name__)
_TIMED = 50
"""Queries whose single searches are timed with the best setting."""

_ENOUGH = 0.95
"""The share of rankings that must be as simulated: a model's rounding differs with the company of a batch."""


def tune(
    collection: Searchable,
    testset: TestSet,
    stages: StagesSpec,
    rerankers: Mapping[str, Any] | None = None,
    measures: Sequence[str] = DEFAULT_MEASURES[:1],
    *,
    numbers: Mapping[str, Sequence[int]] | None = None,
    max_calls: float | None = None,
    max_milliseconds: float | None = None,
    check: bool = True,
    policies: Policies | None = None,
    batch_size: int = 64,
    **options: Any,
) -> TuningReport:
    """Measure every setting of a pipeline's numbers, calling models as little as can be.

    Scores are computed once and each setting is ranked from them exactly. Use judgements that nothing is tested on
    afterwards.

    Args:
        collection: what is searched.
        testset: queries and judgements to tune on.
        stages: the pipeline with the largest number of each stage; its rerankers read texts, none stored states.
        rerankers: by the names of the stages.
        measures: the first one decides.
        numbers: which numbers of a stage to try, by its name; see `make_grid`.
        max_calls: model calls a query that the best setting may take, in the mean.
        max_milliseconds: likewise its time, as searches in batches take it (`Setting.milliseconds`).
        check: search with the best setting for real and compare, and time single searches with it.
        policies: what the measures leave open.
        batch_size: queries that are worked on together.
        **options: of every search: where=, bm25=, fusion= and so on.

    Raises:
        TuningError: a number is out of range, the budget is too small, there is no query, or a stage reads the states
            that the collection stores.
        MeasureError: a measure is unknown.
        QueryError, RerankerError: the pipeline cannot run.
    """
    policies = policies or Policies()
    parsed = parse_measures(measures)
    _check_no_states(collection, parse_stages(stages))
    pipeline, models = as_pipeline(stages, rerankers, None)
    grid = make_grid(pipeline, numbers)
    depth = depth_needed(parsed) + policies.ignore_identical_ids
    queries = {query_id: text for query_id, text in testset.queries.items() if text.strip()}
    if not queries:
        raise TuningError(f"{testset.name} ({testset.split}) has no query with a text to tune on")
    simulation = simulate(collection, queries, grid, models, depth, batch_size=batch_size, **options)

    def measured(run: Mapping[str, Any]) -> Evaluation:
        return evaluate_run(run, testset.qrels, measures, policies)

    def checked(setting: Simulated) -> Check:
        def search(texts: Sequence[str], k: int) -> Any:
            return collection.search_many(texts, k, stages=setting.pipeline, rerankers=models, **options)

        latency = measure_latency(lambda text: search([text], depth), queries.values(), _TIMED)
        if latency is not None and max_milliseconds is not None and latency.mean > max_milliseconds:
            _LOGGER.warning(
                "single searches with %s take %.1f ms in the mean, more than the budget of %g ms, which bounds those "
                "in batches; tune with a smaller one",
                setting.pipeline,
                latency.mean,
                max_milliseconds,
            )
        return _compared(setting, run_queries(search, testset, depth), latency, measured)

    settings = tuple(
        _setting(simulated, simulation, measured(simulated.run), len(queries)) for simulated in simulation.settings
    )
    measure = str(parsed[0])
    best = best_setting(settings, measure, max_calls, max_milliseconds)
    chosen = simulation.settings[settings.index(best)]
    return TuningReport(
        testset=testset.name,
        split=testset.split,
        measure=measure,
        settings=settings,
        pareto=pareto_set(settings, measure),
        best=best,
        calls={name: calls for (name, _), calls in zip(pipeline.rerankers, simulation.calls, strict=True)},
        calls_of_settings=sum(sum(simulated.calls) for simulated in simulation.settings),
        check=checked(chosen) if check else None,
    )


def _check_no_states(collection: Searchable, pipeline: Pipeline) -> None:
    """Refuse stages that read stored states: settings are ranked from what rerankers say of texts.

    Raises:
        TuningError: naming the stage.
    """
    snapshot: Any = getattr(collection, "snapshot", None)  # of a collection; what else can be searched stores none
    stored = () if snapshot is None else snapshot.manifest.tokens
    for name, _ in pipeline.rerankers:
        if name in stored:
            raise TuningError(
                f"stage {name!r} reads the states that the collection stores, which cannot be tuned yet: tune the "
                "network itself under another name, stages='bm25:…,texts:…' with rerankers={'texts': load_reranker(…)} "
                "or --reranker texts=MODEL; its scores differ by the rounding of what is stored"
            )


def _setting(simulated: Simulated, simulation: Simulation, evaluation: Evaluation, n_queries: int) -> Setting:
    seconds = simulation.retrieval_seconds[simulated.pipeline.retrievers]
    for calls, made, taken in zip(simulated.calls, simulation.calls, simulation.seconds, strict=True):
        seconds += calls * taken / made if made else 0.0
    return Setting(
        str(simulated.pipeline), evaluation.measures, sum(simulated.calls) / n_queries, seconds / n_queries * 1000
    )


def _compared(
    chosen: Simulated, result: RunResult, latency: Latency | None, measured: Callable[[Any], Evaluation]
) -> Check:
    """Compare a setting with what searches really return; a reranker that is not what it says shows here."""
    real = result.run
    identical = sum(
        [name for name, _ in ranking] == [name for name, _ in chosen.run[query_id]]
        for query_id, ranking in real.items()
    )
    if identical < _ENOUGH * len(real):
        _LOGGER.warning(
            "only %d of %d simulated rankings are those of real searches: do a reranker's scores of a document depend "
            "on the other candidates, though it calls its model once for each?",
            identical,
            len(real),
        )
    calls = sum(stage.calls for stage in result.stages) / len(real)
    return Check(measured(real).measures, identical, len(real), calls, latency)
