"""A cheap reranker where it is sure, an expensive one for the rest (E-LANG, arXiv 2203.00670).

Candidates are routed one by one, by what the cheap model says of them. Both scores then stand in one list, so they must
be on one scale, which is that of log-odds of relevance: cross-encoders trained with cross-entropy say it directly,
whatever their size, and unlike ranks or scores scaled to each list it does not depend on which candidates were routed.
For an expensive reranker with other scores, `fit_calibration` finds the line that takes the cheap one's log-odds there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from retrieval.errors import RerankerError
from retrieval.rerankers.base import (
    Candidates,
    Counted,
    Reranker,
    calls_for,
    check_answers,
    check_queries,
    check_scores,
    is_pointwise,
    score_with_calls,
)
from retrieval.rerankers.energy import RoutedBy, entropy, free_energy, log_odds
from retrieval.rerankers.function import ScoreFunction
from retrieval.rerankers.given import as_reranker

_MEASURES = {"energy": free_energy, "entropy": entropy}


@runtime_checkable
class LogitReranker(Reranker, Protocol):
    """A reranker that shows its logits; pointwise cross-encoders do."""

    def logits(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return the logits of each query's candidates, (n_i, 1 or 2)."""


class Calibration(NamedTuple):
    """A line from the cheap model's log-odds to the expensive one's scores.

    Attributes:
        slope: above 0.
        intercept: in the expensive model's scores.
    """

    slope: float
    intercept: float


class Routed(NamedTuple):
    """Scores, and whose they are.

    Attributes:
        scores: for each query (n_i,) float64.
        to_super: for each query (n_i,) bool, the candidates that the expensive model scored.
    """

    scores: list[np.ndarray]
    to_super: list[np.ndarray]

    @property
    def share(self) -> float:
        """Share of all candidates that the expensive model scored; 0.0 without candidates."""
        everything = np.concatenate([np.empty(0, bool), *self.to_super])
        return float(everything.mean()) if len(everything) else 0.0


class RoutingReranker:
    """Keeps the cheap model's score where its energy is at most the threshold, else asks the expensive one.

    A threshold of -inf is the expensive reranker and inf the cheap one, exactly; the other is then never asked. The
    share that is routed never grows with the threshold.

    Args:
        swift: the cheap one.
        super_: the expensive one; a function from a query and texts to scores will do, with a calibration.
        threshold: of the energy, or of the entropy in nats.
        by: what is compared with the threshold; see `energy`.
        calibration: from swift's log-odds to super's scores; by default both are log-odds, as both show their logits.

    Raises:
        RerankerError: one is no reranker, swift shows no logits, super does not and there is no calibration, or
            compares candidates with each other; or a setting is wrong.
    """

    def __init__(
        self,
        swift: Reranker,
        super_: Reranker | ScoreFunction,
        threshold: float,
        *,
        by: RoutedBy = "energy",
        calibration: Calibration | None = None,
    ) -> None:
        if by not in _MEASURES:
            raise RerankerError(f"candidates are routed by energy or entropy, not by {by!r}")
        swift, super_ = as_reranker(swift, "the cheap reranker"), as_reranker(super_, "the expensive reranker")
        if not isinstance(swift, LogitReranker):
            raise RerankerError(f"reranker {swift.name!r} shows no logits to route by; take a pointwise cross-encoder")
        if calibration is None and not isinstance(super_, LogitReranker):
            raise RerankerError(
                f"reranker {super_.name!r} shows no logits, so its scores are on a scale of their own; give a "
                "calibration, see fit_calibration"
            )
        if not is_pointwise(super_):
            raise RerankerError(
                f"reranker {super_.name!r} compares candidates with each other, so that its scores depend on which of "
                "them are routed; route whole queries to it with QueryRoutingReranker"
            )
        if calibration is not None and not (calibration.slope > 0 and np.isfinite(calibration).all()):
            raise RerankerError(f"a calibration has a slope above 0 and finite numbers, not {tuple(calibration)}")
        self._threshold = checked_threshold(threshold)
        self._swift: LogitReranker = swift
        self._super = super_
        self._by = by
        self._calibration = calibration

    @property
    def name(self) -> str:
        """The names of both."""
        return f"{self._swift.name} or {self._super.name}"

    @property
    def pointwise(self) -> bool:
        """That a score is the candidate's own: both models' are."""
        return True

    def identity(self) -> dict[str, Any]:
        """Return who both are, and how candidates are routed."""
        return {
            "kind": "routing",
            "by": self._by,
            "threshold": _as_json(self._threshold),
            "calibration": None if self._calibration is None else list(self._calibration),
            "swift": self._swift.identity(),
            "super": self._super.identity(),
        }

    def execution(self) -> dict[str, Any]:
        """Return how both compute."""
        return {"swift": self._swift.execution(), "super": self._super.execution()}

    def calls(self, n: int) -> int:
        """Return the calls of both models if every candidate is routed.

        How many will be is known when the cheap one has scored them: `score_with_calls` counts what was asked.
        """
        if self._threshold == -math.inf:
            return self._super.calls(n)
        return self._swift.calls(n) + (0 if self._threshold == math.inf else self._super.calls(n))

    def calls_for(self, candidates: Candidates) -> int:
        """Return likewise for these candidates: at most as many calls, for the query decides which are routed."""
        if self._threshold == -math.inf:
            return calls_for(self._super, candidates)
        both = calls_for(self._swift, candidates)
        return both if self._threshold == math.inf else both + calls_for(self._super, candidates)

    def score(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return the scores of each query's candidates, (n_i,) float64.

        Raises:
            RerankerError: a score is not finite; the message names query and document.
        """
        return self.score_with_routes(queries, candidates).scores

    def score_with_calls(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> Counted:
        """Return the scores, and the calls of both models that each query took.

        Raises:
            RerankerError: a score is not finite; the message names query and document.
        """
        routed, calls = self._routed(queries, candidates)
        return Counted(routed.scores, calls)

    def score_with_routes(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> Routed:
        """Return the scores, and which candidates the expensive model scored.

        Raises:
            RerankerError: a score is not finite; the message names query and document.
        """
        return self._routed(queries, candidates)[0]

    def _routed(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> tuple[Routed, list[int]]:
        """Return the scores, whose they are, and each query's calls."""
        check_queries(queries, candidates)
        if math.isinf(self._threshold):
            only: Reranker = self._swift if self._threshold > 0 else self._super
            asked = [np.full(len(given), only is not self._swift) for given in candidates]
            found = score_with_calls(only, queries, candidates)
            return Routed(found.scores, asked), list(found.calls)
        calls = [calls_for(self._swift, given) for given in candidates]
        logits = self._swift.logits(queries, candidates)
        scores, to_super = [], []
        for query, given, shown in zip(queries, candidates, logits, strict=True):
            own = self._line(log_odds(shown))
            scores.append(check_scores(own, query, given, self._swift.name).copy())
            to_super.append(_MEASURES[self._by](shown) > self._threshold)
        routed = [
            Candidates(
                [given.ids[row] for row in rows],
                [given.texts[row] for row in rows],
                np.asarray(given.scores)[rows],
                [given.title_lengths[row] for row in rows] if given.title_lengths else (),
            )
            for given, rows in zip(candidates, (np.flatnonzero(mask).tolist() for mask in to_super), strict=True)
        ]
        asked_of = [number for number, given in enumerate(routed) if len(given)]
        answers, made = self._asked_super(
            [queries[number] for number in asked_of], [routed[number] for number in asked_of]
        )
        for number, answer, more in zip(asked_of, answers, made, strict=True):
            scores[number][to_super[number]] = answer
            calls[number] += more
        return Routed(scores, to_super), calls

    def close(self) -> None:
        """Let go of both models."""
        self._swift.close()
        self._super.close()

    def _line(self, odds: np.ndarray) -> np.ndarray:
        return odds if self._calibration is None else self._calibration.slope * odds + self._calibration.intercept

    def _asked_super(self, queries: list[str], candidates: list[Candidates]) -> Counted:
        if not queries:
            return Counted([], [])
        name = self._super.name
        if self._calibration is None:
            assert isinstance(self._super, LogitReranker)
            answers = [log_odds(each) for each in self._super.logits(queries, candidates)]
            calls: Sequence[int] = [calls_for(self._super, given) for given in candidates]
        else:
            answers, calls = score_with_calls(self._super, queries, candidates)
            answers = check_answers(answers, len(queries), name)
        checked = [
            check_scores(answer, query, given, name)
            for answer, query, given in zip(answers, queries, candidates, strict=True)
        ]
        return Counted(checked, calls)


def fit_calibration(
    swift: LogitReranker, super_: Reranker, queries: Sequence[str], candidates: Sequence[Candidates]
) -> Calibration:
    """Return the line of least squares from the cheap model's log-odds to the expensive one's scores.

    Args:
        swift: the cheap one.
        super_: the expensive one.
        queries: a sample, some dozens.
        candidates: of each.

    Raises:
        RerankerError: the sample is empty, or the two do not rise together on it, so that no such line orders
            candidates.
    """
    if not any(map(len, candidates)):
        raise RerankerError("a calibration is fitted on a sample of queries with candidates, and there are none")
    odds = np.concatenate([log_odds(each) for each in swift.logits(queries, candidates)])
    wanted = np.concatenate(super_.score(queries, candidates))
    spread = odds - odds.mean() if len(odds) else odds
    scale = float(spread @ spread)
    slope = float(spread @ (wanted - wanted.mean())) / scale if scale > 0 else 0.0
    if not slope > 0:
        raise RerankerError(
            f"the scores of {super_.name!r} do not rise with those of {swift.name!r} on these {len(odds):,} "
            "candidates: no line puts them on one scale"
        )
    return Calibration(slope, float(wanted.mean() - slope * odds.mean()))


def expected_cost(swift: float, super_: float, share: float) -> float:
    """Return what a candidate costs on average: the cheap model always, the expensive one for the share routed to it.

    Args:
        swift: cost of the cheap model, in any unit.
        super_: of the expensive one, in the same unit.
        share: of the candidates that are routed, 0 to 1.
    """
    if not 0 <= share <= 1:
        raise RerankerError(f"a share lies between 0 and 1, not at {share}")
    return swift + share * super_


def checked_threshold(threshold: float) -> float:
    """Return a threshold, which may be infinite.

    Raises:
        RerankerError: it is no number.
    """
    if not isinstance(threshold, (int, float)) or math.isnan(threshold):
        raise RerankerError(f"a threshold is a number, -inf and inf among them, not {threshold!r}")
    return float(threshold)


def _as_json(threshold: float) -> float | str:
    return threshold if math.isfinite(threshold) else str(threshold)
