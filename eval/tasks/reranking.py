"""Reranking: how well does a system order passages that are given, those that people judged or a first stage found?

Pools are measured as MTEB's reranking does: MAP over the judged passages of each query, by the scores of a reranker, by
the similarities of an encoder, or by BM25. Files of pools often list relevant passages first; so that an order which
says nothing gains nothing by that, passages with equal scores are read in the least favourable order, which is also
what mteb's ids come to (trec_eval puts its "negative_…" before its "apositive_…").
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from eval.errors import MissingDataError, TestSetError
from eval.measures import Qrels, Ranking, Run, evaluate_run, parse_measures
from eval.tasks.base import EQUAL_SCORES, Surroundings, TaskResult
from eval.tasks.candidate_scoring import ScoredCandidates, scoring_mode
from eval.tasks.file_task import FileTask
from eval.tasks.ranking_definitions import RerankingDefinition
from eval.tasks.ranking_results import (
    candidate_policies,
    evaluation_counts,
    measure_policies,
    policies_of,
    reference_of,
)
from eval.tasks.reranking_data import read_reranking_data
from eval.tasks.system import FIRST_STAGE, System
from eval.tasks.tables import existing_file
from eval.testsets import find_testset

_POOL_TIES = (
    "of passages with equal scores (as 32-bit floats) the less relevant comes first, as with the ids of mteb's pools"
)


class RerankingTask(FileTask[RerankingDefinition]):
    """Ordering judged pools, or the candidates of a first stage.

    Args:
        definition: of the task.
        data: what its folder is below.
    """

    kind: ClassVar[str] = "Reranking"

    def files(self) -> list[Path]:
        """Return the files that are read: the table of pairs, or the candidates and what the test set is made of.

        Raises:
            MissingDataError: one does not exist.
        """
        place = self.definition.place(self.data)
        if not self.definition.candidates:
            return [existing_file(place, self.definition.file)]
        candidates = existing_file(place, self.definition.candidates)
        try:
            return [candidates, *find_testset(place, self.definition.split)]
        except TestSetError as fault:
            raise MissingDataError(str(fault)) from None

    def problem(self, system: System) -> str | None:
        """Say why a system cannot be measured on this task; None when it can."""
        if system.reranker is not None:
            return None
        if "stages" in system.search_options:
            return (
                "reranking takes what the stages would find as given; name the pipeline's reranker as System.reranker"
            )
        mode = scoring_mode(system)
        if mode == "dense" and system.encoder is None:
            return f"similarities need vectors, and {system.name} has no encoder"
        if mode == FIRST_STAGE and not (self.definition.candidates or self.definition.rank):
            return "its pools come from no first stage whose order is known"
        if mode not in ("dense", "bm25", FIRST_STAGE):
            return f"candidates are scored by a reranker, an encoder or BM25, not by {mode!r} search"
        return None

    def _measured(self, system: System, surroundings: Surroundings) -> TaskResult:
        """Score the candidates of every query and measure their order."""
        began = time.perf_counter()
        definition = self.definition
        policies = policies_of(definition.relevant - definition.lowest_grade, surroundings.policies)
        names = parse_measures((definition.measure, *definition.measures))
        main = str(policies.applied_to(names)[0])
        data = read_reranking_data(definition, self.data, self.files())
        scored = ScoredCandidates(data, system, surroundings, self.name)
        if data.pooled:
            # A passage of a pool is no query, even where both are called by numbers.
            policies = replace(policies, ties="as returned", ignore_identical_ids=False)
        evaluation = evaluate_run(
            _pool_run(scored.run, data.qrels) if data.pooled else _candidate_run(scored.run),
            data.qrels,
            list(map(str, names)),
            policies,
        )
        sentences = measure_policies(policies, evaluation) | candidate_policies(scored.source, system)
        if data.pooled:
            sentences["ties"] = _POOL_TIES
        elif system.reranker is not None or system.encoder is not None:
            sentences[EQUAL_SCORES] = "are returned in the order of the first stage"
        counts = {**data.counts, **scored.counts, **evaluation_counts(evaluation)}
        if data.pooled:
            counts.pop("queries whose order hangs on ties")
        return TaskResult(
            task=self.name,
            kind=self.kind,
            system=system.name,
            main_score=main,
            scores=evaluation.measures,
            values={query: row[main] for query, row in evaluation.per_query.items()},
            n_items=len(evaluation.per_query),
            policies=sentences,
            counts={name: count for name, count in counts.items() if count},
            costs=scored.costs | {"seconds": time.perf_counter() - began},
            settings={
                "split": definition.split,
                "subset": definition.subset,
                "candidates": definition.candidates or definition.file,
                "candidate_depth": definition.candidate_depth if definition.candidates and data.ordered else None,
                "scores": scored.source,
                "encoder": None if system.encoder is None else system.encoder.identity(),
                "reranker": None if system.reranker is None else system.reranker.identity(),
                "other_ties": {} if data.pooled else evaluation.other_ties,
            },
            reference=reference_of(definition, system, by_encoder=scored.source == "similarities", as_published=True),
            queries=scored.queries,
        )


def _pool_run(run: Run, qrels: Qrels) -> dict[str, Ranking]:
    """Sort by score as a 32-bit float; of equal scores the less relevant comes first."""
    with np.errstate(over="ignore"):
        return {
            query: [
                (name, -float(rank))
                for rank, (name, _) in enumerate(
                    sorted(ranking, key=lambda pair: (-np.float32(pair[1]), qrels[query][pair[0]]))
                )
            ]
            for query, ranking in run.items()
        }


def _candidate_run(run: Run) -> dict[str, Ranking]:
    """Sort by score; equal scores keep the order of the first stage."""
    return {query: sorted(ranking, key=lambda pair: -pair[1]) for query, ranking in run.items()}
