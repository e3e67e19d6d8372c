"""A cheap reranker for queries whose candidates are told apart already, an expensive one for those of a flat list."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.errors import RerankerError
from retrieval.rerankers.base import (
    Candidates,
    Counted,
    Reranker,
    calls_for,
    check_answers,
    check_queries,
    score_with_calls,
)
from retrieval.rerankers.function import ScoreFunction
from retrieval.rerankers.given import as_reranker
from retrieval.rerankers.routing import Routed, checked_threshold


def flatness(scores: np.ndarray, depth: int) -> float:
    """Return how flat the head of a ranked list is, 0 to 1: 1 / (1 + standard deviation / |mean|) of its scores.

    1 where all scores are equal, towards 0 where few stand out; the same for scores times any number. The deviation of
    the best scores, which predicts how well a query does, is normalised query commitment without the corpus's score
    (Shtok, Kurland and Carmel 2012, "Predicting query performance by query-drift estimation", TOIS 30(2)).

    Args:
        scores: (n,), best first. A list of one has nothing to order, and gives 0.
        depth: how many of the best are looked at.
    """
    head = np.asarray(scores, np.float64)[:depth]
    if len(head) < 2:
        return 0.0
    deviation, mean = float(head.std()), abs(float(head.mean()))
    if deviation == 0:
        return 1.0
    return mean / (mean + deviation)


class QueryRoutingReranker:
    """Asks the cheap reranker about queries whose list is at most as flat as the threshold, else the expensive one.

    A query's scores come from one of both, so they need not be on one scale. A threshold of -inf is the expensive one
    and inf the cheap one, exactly.

    Args:
        swift: the cheap one; a function from a query and texts to scores will do for either.
        super_: the expensive one; a whole pipeline behind `FunctionReranker` is one as well.
        threshold: of the flatness, see `flatness`.
        depth: how many of the best candidates are looked at.

    Raises:
        RerankerError: one is no reranker, or a setting makes no sense.
    """

    def __init__(
        self, swift: Reranker | ScoreFunction, super_: Reranker | ScoreFunction, threshold: float, *, depth: int = 10
    ) -> None:
        if isinstance(depth, bool) or not isinstance(depth, int) or depth < 2:
            raise RerankerError(f"depth is {depth}; at least 2 scores make a list that is flat or not")
        self._threshold = checked_threshold(threshold)
        self._swift = as_reranker(swift, "the cheap reranker")
        self._super = as_reranker(super_, "the expensive reranker")
        self._depth = depth

    @property
    def pointwise(self) -> bool:
        """That a score is not the candidate's own: the whole list decides who gives it."""
        return False

    @property
    def name(self) -> str:
        """The names of both."""
        return f"{self._swift.name} or {self._super.name}"

    def identity(self) -> dict[str, Any]:
        """Return who both are, and how queries are routed."""
        return {
            "kind": "query-routing",
            "threshold": self._threshold if math.isfinite(self._threshold) else str(self._threshold),
            "depth": self._depth,
            "swift": self._swift.identity(),
            "super": self._super.identity(),
        }

    def execution(self) -> dict[str, Any]:
        """Return how both compute."""
        return {"swift": self._swift.execution(), "super": self._super.execution()}

    def calls(self, n: int) -> int:
        """Return the calls of the one that takes more: which one is asked depends on the scores, see `calls_for`."""
        if math.isinf(self._threshold):
            return (self._swift if self._threshold > 0 else self._super).calls(n)
        return max(self._swift.calls(n), self._super.calls(n))

    def calls_for(self, candidates: Candidates) -> int:
        """Return the calls of the one that these candidates go to."""
        return calls_for(self._super if self._is_flat(candidates) else self._swift, candidates)

    def score(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return the scores of each query's candidates, (n_i,) float64.

        Raises:
            RerankerError: a score is not finite; the message names query and document.
        """
        return self.score_with_routes(queries, candidates).scores

    def score_with_calls(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> Counted:
        """Return the scores, and the calls that each query took.

        Raises:
            RerankerError: a score is not finite; the message names query and document.
        """
        routed, calls = self._routed(queries, candidates)
        return Counted(routed.scores, calls)

    def score_with_routes(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> Routed:
        """Return the scores, and for which queries, all candidates together, the expensive one was asked.

        Raises:
            RerankerError: a score is not finite; the message names query and document.
        """
        return self._routed(queries, candidates)[0]

    def close(self) -> None:
        """Let go of both."""
        self._swift.close()
        self._super.close()

    def _is_flat(self, candidates: Candidates) -> bool:
        return flatness(candidates.scores, self._depth) > self._threshold

    def _routed(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> tuple[Routed, list[int]]:
        """Return the scores, whose they are, and each query's calls."""
        check_queries(queries, candidates)
        flat = [self._is_flat(given) for given in candidates]
        scores: list[np.ndarray] = [np.empty(0, np.float64)] * len(queries)
        calls = [0] * len(queries)
        for reranker, expensive in ((self._swift, False), (self._super, True)):
            chosen = [number for number, each in enumerate(flat) if each == expensive]
            if not chosen:
                continue
            asked, given = [queries[number] for number in chosen], [candidates[number] for number in chosen]
            found = score_with_calls(reranker, asked, given)
            answers = check_answers(found.scores, len(chosen), reranker.name)
            for number, answer, made in zip(chosen, answers, found.calls, strict=True):
                scores[number] = answer
                calls[number] = made
        return Routed(scores, [np.full(len(given), each) for given, each in zip(candidates, flat, strict=True)]), calls
