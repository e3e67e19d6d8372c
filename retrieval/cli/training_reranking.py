"""What `retrieval train --test` measures of a reranker: BM25's best documents of a test set, reranked."""

from __future__ import annotations

import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eval.testsets import TestSet
    from retrieval.collection import Collection
    from retrieval.models.rankers.base import RankingNetwork
    from retrieval.rerankers import Reranker

_MEASURES = ("nDCG@10", "RR@10")
_POINTWISE, _PAIRWISE = 100, 10
"""Candidates of a query: 100 model calls, or 10 · 9."""

_FIRST, _SECOND = "bm25", "model"


class RerankedTestSet:
    """A test set whose first stage is BM25 over whole documents; it is searched when a reranker is first measured.

    Args:
        testset: with documents.
        label: what measures call it.
        candidates: documents of each query that are reranked; None takes 100, or 10 for a pairwise reranker, whose
            calls grow with their square.
    """

    def __init__(self, testset: TestSet, label: str, candidates: int | None) -> None:
        self._testset = testset
        self._label = label
        self._candidates = candidates

    def measure(self, network: RankingNetwork) -> dict[str, float]:
        """Measure BM25 alone and what the network makes of its candidates: as it is saved, through `load_reranker`.

        Raises:
            RerankerError: the network cannot be loaded as a reranker, or a score is not finite.
        """
        from retrieval.rerankers import load_reranker

        n = self._candidates or (_POINTWISE if network.passages_per_score == 1 else _PAIRWISE)
        device = next(network.parameters()).device.type
        with tempfile.TemporaryDirectory() as folder:
            network.save(folder)
            reranker = load_reranker(folder, device=device)
            try:
                reranked = self._measured(f"{_FIRST}:{max(n, _POINTWISE)},{_SECOND}:{n}", reranker)
            finally:
                reranker.close()
        return {
            **{f"{self._label}, BM25 alone {name}": value for name, value in self._of_first_stage.items()},
            **{f"{self._label}, BM25's {n} reranked {name}": value for name, value in reranked.items()},
        }

    @cached_property
    def _of_first_stage(self) -> dict[str, float]:
        return self._measured(f"{_FIRST}:{_POINTWISE}", None)

    def _measured(self, stages: str, reranker: Reranker | None) -> dict[str, float]:
        from eval.measures import evaluate_run
        from eval.query_runs import run_queries

        given = {} if reranker is None else {_SECOND: reranker}
        found = run_queries(
            lambda texts, k: self._collection.search_many(texts, k=k, stages=stages, rerankers=given),
            self._testset,
            _POINTWISE,
        )
        values = evaluate_run(found.run, self._testset.qrels, _MEASURES).measures
        return {f"{name} (n={len(self._testset.qrels)})": float(value) for name, value in values.items()}

    @cached_property
    def _collection(self) -> Collection:
        from retrieval.collection import Collection

        # Removed when this object is, or at the latest when the process ends.
        self._folder = tempfile.TemporaryDirectory()
        collection = Collection.create(Path(self._folder.name) / "index", encoder=None)
        assert self._testset.corpus is not None
        collection.add(self._testset.corpus)
        return collection
