"""Tuning what Birch adds up: a small grid over judged queries, and what it is worth on queries that had no part in it.

Sentences are scored once; each setting of the grid is then a sum. In k-fold cross-validation the queries of each part
are ranked with the setting that is best on all the others, as in the study (EMNLP-IJCNLP 2019, five folds): the mean
over all queries is an honest value, that of the best setting on the queries that chose it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from eval.errors import TuningError
from eval.measures import Policies, Ranking, depth_needed, evaluate_run, parse_measures
from eval.testsets import TestSet
from eval.tuning.simulation import Searchable
from retrieval.pipeline.grammar import StagesSpec, parse_stages
from retrieval.pipeline.order import best_first
from retrieval.rerankers.base import Candidates
from retrieval.rerankers.birch import BirchReranker, Interpolation, Parts
from retrieval.results import SearchResults

STEPS = tuple(step / 10 for step in range(11))
"""What the first stage counts, in tenths as in the study."""

LESS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What a next sentence counts; none more than the one before it."""


@dataclass(frozen=True)
class Fold:
    """One part of the queries.

    Attributes:
        queries: their ids.
        interpolation: the best on all other queries.
        value: the mean of the measure over these queries, ranked with it.
    """

    queries: tuple[str, ...]
    interpolation: Interpolation
    value: float


@dataclass(frozen=True)
class InterpolationReport:
    """What tuning found.

    Attributes:
        measure: what settings are compared by; larger is better.
        best: the best setting on all queries, to search others with.
        value: the mean over all queries, each ranked with its fold's setting; what `best` may be expected to bring.
        first_stage: the mean of the first stage alone.
        per_query: value by query id, each ranked with its fold's setting.
        folds: the parts.
        settings: mean over all queries by setting, in the order of the grid.
    """

    measure: str
    best: Interpolation
    value: float
    first_stage: float
    per_query: Mapping[str, float]
    folds: tuple[Fold, ...]
    settings: Mapping[Interpolation, float]


def make_interpolations(
    first: Sequence[float] = STEPS, less: Sequence[float] = LESS, n_sentences: int = 3
) -> list[Interpolation]:
    """Return a grid: the best sentence counts 1, no other one more than that before it; the first stage alone once.

    Args:
        first: what the first stage may count.
        less: what the other sentences may count.
        n_sentences: best sentences of a document.
    """
    others = [
        row
        for row in product(sorted(set(less)), repeat=n_sentences - 1)
        if all(after <= before for before, after in zip((1.0, *row), row, strict=False))
    ]
    grid = [Interpolation(a, (1.0, *row)) for a in sorted(set(first)) if a < 1 for row in others]
    return [*grid, Interpolation(1.0, (1.0, *[0.0] * (n_sentences - 1)))] if 1 in first else grid


def tune_interpolation(
    collection: Searchable,
    testset: TestSet,
    stages: StagesSpec,
    reranker: BirchReranker,
    measure: str = "nDCG@10",
    *,
    grid: Sequence[Interpolation] | None = None,
    folds: int = 5,
    seed: int = 0,
    policies: Policies | None = None,
    batch_size: int = 64,
    **options: Any,
) -> InterpolationReport:
    """Return the best interpolation of a first stage and Birch's sentences, and its cross-validated value.

    Args:
        collection: what is searched.
        testset: queries and judgements; nothing is to be tested on them afterwards but by `value`.
        stages: the first stage, such as "bm25:100"; all that it returns is reranked.
        reranker: reads the sentences; of its own interpolation nothing is used.
        measure: a name as in `parse_measures`.
        grid: settings to try; by default `make_interpolations()`.
        folds: parts of the queries.
        seed: decides which query is in which part.
        policies: what the measure leaves open.
        batch_size: queries that are worked on together.
        **options: of every search: where=, bm25= and so on.

    Raises:
        TuningError: the stages rerank, there are fewer queries than folds, or the grid is empty.
        MeasureError: the measure is unknown.
    """
    policies = policies or Policies()
    (parsed,) = parse_measures([measure])
    pipeline = parse_stages(stages)
    grid = list(make_interpolations() if grid is None else grid)
    judged = {query_id for query_id, grades in testset.qrels.items() if grades}
    queries = {query_id: text for query_id, text in testset.queries.items() if query_id in judged and text.strip()}
    if pipeline.rerankers:
        raise TuningError(f"give the first stage alone, {pipeline.first!r}, not {str(pipeline)!r}: Birch reranks it")
    if not grid or not 2 <= folds <= len(queries):
        raise TuningError(
            f"tuning needs settings to try and 2 folds or more, each with a query, not {len(grid)} settings, {folds} "
            f"folds and {len(queries)} queries"
        )
    n_sentences = max(len(setting.weights) for setting in grid)
    ids: dict[str, list[str]] = {}
    parts: dict[str, Parts] = {}
    for asked in _batches(list(queries), batch_size):
        texts = [queries[name] for name in asked]
        found = collection.search_many(texts, pipeline.retrieved, stages=pipeline, **options)
        candidates = [_candidates(results) for results in found]
        ids |= {name: list(given.ids) for name, given in zip(asked, candidates, strict=True)}
        parts |= zip(asked, reranker.parts(texts, candidates, n_sentences), strict=True)
    depth = depth_needed([parsed]) + policies.ignore_identical_ids

    def values(setting: Interpolation) -> np.ndarray:
        run = {query_id: _ranking(ids[query_id], setting.scores(parts[query_id]), depth) for query_id in queries}
        per_query = evaluate_run(run, testset.qrels, [measure], policies).per_query
        return np.array([per_query[query_id][str(parsed)] for query_id in queries])

    table = np.stack([values(setting) for setting in grid])  # (settings, queries)
    first_stage = values(Interpolation(1.0, (1.0,)))
    number = np.random.default_rng(seed).permutation(len(queries)) % folds  # of each query's fold
    chosen = [int(table[:, number != fold].mean(axis=1).argmax()) for fold in range(folds)]
    names = np.array(list(queries), object)
    own = table[np.array(chosen)[number], np.arange(len(queries))]
    means = table.mean(axis=1)
    return InterpolationReport(
        measure=str(parsed),
        best=grid[int(means.argmax())],
        value=float(own.mean()),
        first_stage=float(first_stage.mean()),
        per_query=dict(zip(queries, own.tolist(), strict=True)),
        folds=tuple(
            Fold(tuple(names[number == fold]), grid[setting], float(own[number == fold].mean()))
            for fold, setting in enumerate(chosen)
        ),
        settings=dict(zip(grid, means.tolist(), strict=True)),
    )


def _batches(names: list[str], size: int) -> Iterator[list[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))


def _candidates(results: SearchResults) -> Candidates:
    return Candidates(
        results.ids,
        [hit.document.full_text for hit in results],
        np.asarray(results.scores, np.float64),
        [len(hit.document.title) for hit in results],
    )


def _ranking(ids: Sequence[str], scores: np.ndarray, depth: int) -> Ranking:
    return [(ids[place], float(scores[place])) for place in best_first(scores)[:depth].tolist()]
