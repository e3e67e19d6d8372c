"""A pointwise reranker over many passages of many queries in one call, and its scores as probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.errors import RerankerError
from retrieval.rerankers.base import (
    PROBES,
    Candidates,
    Reranker,
    ScoreKind,
    check_answers,
    check_scores,
    is_pointwise,
)
from retrieval.rerankers.function import ScoreFunction
from retrieval.rerankers.given import as_reranker
from retrieval.rerankers.splitting import SplitTexts, Splitting, TokenSpans


class PassageScorer:
    """Scores passages, each by itself; equal ones of a query once.

    Args:
        reranker: a pointwise one: `load_reranker`'s, except pairwise ones, a `FunctionReranker` or your own.
        probabilities: whether its scores become probabilities of relevance, which takes a reranker that says what they
            are (`scores_are`), as models do and functions do not. None for yes where that is known.
        what: who asks, for messages.

    Raises:
        RerankerError: the reranker is not pointwise, takes another number of model calls than one for each passage, or
            nothing is known of how its scores become probabilities.
    """

    def __init__(self, reranker: Reranker | ScoreFunction, probabilities: bool | None, what: str) -> None:
        reranker = as_reranker(reranker, f"what {what} reads passages with")
        calls = [reranker.calls(n) for n in PROBES]
        if not is_pointwise(reranker):
            says = f"calls its model {reranker.calls(7)} times for 7 candidates"
            if calls == list(PROBES):
                says = "says that a score depends on the other candidates"
            raise RerankerError(
                f"{what} needs a pointwise reranker, which scores each passage by itself; {reranker.name!r} {says}"
            )
        if calls != list(PROBES):
            raise RerankerError(
                f"{what} counts one model call for each passage, and {reranker.name!r} makes up to {reranker.calls(7)} "
                "for 7 candidates: give one of the rerankers that it is made of"
            )
        self.reranker = reranker
        self._scores_are: ScoreKind | None = getattr(reranker, "scores_are", None)
        if probabilities and self._scores_are is None:
            raise RerankerError(
                f"nothing is known of the scores of {reranker.name!r} (scores_are): let it return probabilities "
                "itself, and leave out probabilities=True"
            )
        self.probabilities = self._scores_are is not None if probabilities is None else probabilities

    def identity(self) -> dict[str, Any]:
        """Return what decides the scores: the reranker's identity, and what becomes of its scores."""
        return {"reranker": self.reranker.identity(), "probabilities": self.probabilities}

    def token_spans(self, splitting: Splitting) -> TokenSpans | None:
        """Return what finds the model's tokens in texts where passages are measured by them, None elsewhere.

        Raises:
            RerankerError: the reranker does not say where its tokens stand.
        """
        if splitting.unit != "tokens":
            return None
        spans: TokenSpans | None = getattr(self.reranker, "token_spans", None)
        if spans is None:
            raise RerankerError(
                f"reranker {self.reranker.name!r} does not say where its tokens stand (token_spans): cut by words"
            )
        return spans

    def score(
        self, queries: Sequence[str], candidates: Sequence[Candidates], passages: Sequence[SplitTexts]
    ) -> list[np.ndarray]:
        """Return the scores of the passages of each query, (n_passages,) float64.

        Args:
            queries: their texts.
            candidates: whose passages they are, for messages and for rerankers that read the scores before.
            passages: of each query's candidates.

        Raises:
            RerankerError: a score is not finite; the message names query, document and passage.
        """
        distinct = [_distinct(given, split) for given, split in zip(candidates, passages, strict=True)]
        asked = [given for given, _ in distinct]
        answers = check_answers(self.reranker.score(queries, asked), len(queries), self.reranker.name)
        return [
            self._scale(check_scores(answer, query, given, self.reranker.name))[places]
            for answer, query, (given, places) in zip(answers, queries, distinct, strict=True)
        ]

    def _scale(self, scores: np.ndarray) -> np.ndarray:
        if not self.probabilities:
            return scores
        return np.exp(scores) if self._scores_are == "log-probabilities" else np.exp(-np.logaddexp(0.0, -scores))


def _distinct(candidates: Candidates, split: SplitTexts) -> tuple[Candidates, np.ndarray]:
    """Return the distinct passages of a query as candidates, and for each passage which of them it is."""
    document = np.searchsorted(split.firsts, np.arange(len(split.passages)), side="right") - 1  # (n_passages,)
    numbers: dict[str, int] = {}
    places = [numbers.setdefault(text, len(numbers)) for text in split.passages]
    holder = dict(zip(reversed(places), reversed(range(len(places))), strict=True))  # the first passage with each text
    firsts = np.array([holder[number] for number in range(len(numbers))], np.int64)
    of_document = document[firsts]
    ids = [
        f"{candidates.ids[row]} (passage {place + 1})"
        for row, place in zip(of_document.tolist(), (firsts - split.firsts[of_document]).tolist(), strict=True)
    ]
    scores = np.asarray(candidates.scores, np.float64)[of_document]
    return Candidates(ids, list(numbers), scores), np.array(places, np.int64)
