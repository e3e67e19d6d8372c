"""Scoring the candidates of a task: in blocks, by whatever the system has, with what it costs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from eval.candidates import CandidateList
from eval.errors import TaskError
from eval.latency import measure_latency
from eval.tasks.base import Surroundings
from eval.tasks.candidate_scores import (
    FirstStage,
    LexicalScores,
    RerankerScores,
    Scorer,
    Similarities,
    best_first,
    in_blocks,
)
from eval.tasks.reranking_data import RerankingData
from eval.tasks.system import FIRST_STAGE, System
from retrieval.progress import progress

_KEPT = 200
"""Lists that are kept for measuring the latency of single queries."""


def scoring_mode(system: System) -> str:
    """Return what a system without a reranker scores candidates by: "dense", "bm25", `FIRST_STAGE` or none of these."""
    return str(system.search_options.get("mode", "dense" if system.encoder is not None else "bm25"))


class ScoredCandidates:
    """The candidates of a task with a system's scores.

    Args:
        data: the candidates.
        system: what scores them.
        surroundings: workspace, latency sample and progress.
        task: name, for messages.

    Attributes:
        run: document ids and scores by query id, in the order of the candidates.
        queries: texts by id.
        source: what the scores come from.
        counts: of what was not as it should be.
        costs: seconds and, where they are asked for, times of single queries.

    Raises:
        TaskError: the system cannot score these candidates.
        RerankerError: a reranker did not give one finite score for each candidate.
    """

    def __init__(self, data: RerankingData, system: System, surroundings: Surroundings, task: str) -> None:
        self.run: dict[str, list[tuple[str, float]]] = {}
        self.queries: dict[str, str] = {}
        self._kept: dict[str, CandidateList] = {}
        self._task = task
        with contextlib.ExitStack() as stack:
            self.source, scorer = _scorer(data, system, surroundings, stack)
            began = time.perf_counter()
            n_pairs = self._score(data, scorer, _reordering(data, scorer, surroundings, stack), surroundings.progress)
            seconds = time.perf_counter() - began
            self.costs = {"score_seconds": seconds, "pairs_per_second": n_pairs / seconds if seconds else 0.0}
            by_text = {each.query: each for each in self._kept.values()}
            latency = measure_latency(
                lambda text: scorer.score([by_text[text]]), by_text, surroundings.latency_sample, surroundings.seed
            )
            if latency is not None:
                self.costs |= {
                    "query_p50_ms": latency.p50,
                    "query_p95_ms": latency.p95,
                    "query_p99_ms": latency.p99,
                }
        self.counts = {**scorer.counts, "blank queries": sum(not text.strip() for text in self.queries.values())}

    def _score(self, data: RerankingData, scorer: Scorer, order: Scorer | None, shows_progress: bool) -> int:
        n_pairs = 0
        with progress("scoring", unit="pairs", total=None, enabled=shows_progress) as bar:
            for block in in_blocks(data.lists):
                given = block if order is None else _ordered(block, order)
                for each, scores in zip(given, scorer.score(given), strict=True):
                    if each.query_id in self.run and not scorer.pointwise:
                        raise TaskError(
                            f"task {self._task}: the candidates of query {each.query_id!r} do not stand together, and "
                            "the reranker scores them in company; sort the file by its first column"
                        )
                    ranking = self.run.setdefault(each.query_id, [])
                    ranking += zip(each.candidates.ids, np.asarray(scores, np.float64).tolist(), strict=True)
                    self.queries.setdefault(each.query_id, each.query)
                    if len(self._kept) < _KEPT:
                        self._kept.setdefault(each.query_id, each)
                n_block = sum(len(each.candidates) for each in block)
                bar.grow(n_block)
                bar.advance(n_block)
                n_pairs += n_block
        return n_pairs


def _scorer(
    data: RerankingData, system: System, surroundings: Surroundings, stack: contextlib.ExitStack
) -> tuple[str, Scorer]:
    """Return what a system's scores come from, in a word and as an object."""
    options = system.search_options
    if system.reranker is not None:
        return "reranker", RerankerScores(system.reranker)
    mode = scoring_mode(system)
    if mode == FIRST_STAGE:
        if not data.ordered:
            raise TaskError("the candidates come without the order of their first stage; give the run file instead")
        return FIRST_STAGE, FirstStage()
    if mode == "dense":
        assert system.encoder is not None
        return "similarities", Similarities(system.encoder, surroundings.progress)
    return "BM25", _lexical(data.lists, surroundings, options, stack)


def _reordering(
    data: RerankingData, scorer: Scorer, surroundings: Surroundings, stack: contextlib.ExitStack
) -> Scorer | None:
    """Return BM25 where a scorer looks at the order of candidates and they have none; else None."""
    if scorer.pointwise or data.ordered:
        return None
    return _lexical(data.lists, surroundings, {}, stack)


def _lexical(
    lists: Iterable[CandidateList],
    surroundings: Surroundings,
    options: Mapping[str, Any],
    stack: contextlib.ExitStack,
) -> LexicalScores:
    scorer = LexicalScores(lists, surroundings.workspace, dict(options))
    stack.callback(scorer.close)
    return scorer


def _ordered(block: Sequence[CandidateList], order: Scorer) -> list[CandidateList]:
    return [best_first(each, scores) for each, scores in zip(block, order.score(block), strict=True)]
