"""Long documents: a reranker reads their passages, and a document's score comes of those of its passages.

FirstP, MaxP and SumP are Dai and Callan's ("Deeper Text Understanding for IR with Contextual Neural Language Modeling",
SIGIR 2019); the mean of the best k is KMaxAvgP (Zhang, Yates and Lin, ECIR 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from indexes.aggregation import Aggregation
from indexes.errors import VectorError
from retrieval.errors import RerankerError
from retrieval.rerankers.base import Candidates, Reranker, check_queries, check_scores
from retrieval.rerankers.passage_scores import PassageScorer
from retrieval.rerankers.splitting import Splitting, split_candidates

SUM = Aggregation("decayed", decay=1.0)
"""SumP: every passage counts as it is."""


class PassageReranker:
    """Scores documents by their passages; the passages of all candidates of all queries go through the model together.

    A document's score depends on the query and its own text alone, up to the rounding of the model's batches. That of a
    document of one passage is that passage's.

    Args:
        reranker: reads the passages; a pointwise one.
        aggregate: "max" (MaxP), "first" (FirstP), "sum" (SumP), "mean" of the best three, "decayed": the sum of all,
            best first, each next one for half; or an `Aggregation` with other numbers.
        splitting: how documents are cut; 150 words every 75 words, 30 passages at most, where nothing is said.
        probabilities: whether the model's scores become probabilities of relevance before they are combined, as in the
            studies; see `PassageScorer`. Sums of logits fall with every passage that does not answer the query. None
            for yes where passages are added up and it is known how, which it is not of functions.

    Raises:
        RerankerError: the reranker is not pointwise, or a setting makes no sense.
    """

    def __init__(
        self,
        reranker: Reranker,
        aggregate: str | Aggregation = "max",
        splitting: Splitting | None = None,
        *,
        probabilities: bool | None = None,
    ) -> None:
        self._aggregation = as_aggregation(aggregate)
        splitting = splitting or Splitting()
        if self._aggregation.method == "first":
            splitting = replace(splitting, most=1)
        if probabilities is None and self._aggregation.method != "decayed":
            probabilities = False
        self._scorer = PassageScorer(reranker, probabilities, "a passage reranker")
        self._splitting = splitting
        self._token_spans = self._scorer.token_spans(splitting)

    @property
    def name(self) -> str:
        """The reranker's name, and that it reads passages."""
        return f"{self._scorer.reranker.name} ({self._aggregation.method} of passages)"

    @property
    def pointwise(self) -> bool:
        """That a score depends on the query and the candidate alone, however many inputs it takes."""
        return True

    def identity(self) -> dict[str, Any]:
        """Return the reranker's identity, how documents are cut and how scores are combined."""
        return {
            "kind": "passages",
            **self._scorer.identity(),
            "aggregate": asdict(self._aggregation),
            "splitting": asdict(self._splitting),
        }

    def execution(self) -> dict[str, Any]:
        """Return how the reranker computes its scores."""
        return {"runtime": "passages", "reranker": self._scorer.reranker.execution()}

    def calls(self, n: int) -> int:
        """Return the passages of n documents, if each has as many as are read; `calls_for` knows their texts."""
        return n * self._splitting.most

    def calls_for(self, candidates: Candidates) -> int:
        """Return how many distinct passages the candidates of a query have."""
        return len(set(split_candidates(candidates, self._splitting, self._token_spans).passages))

    def score(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return the scores of each query's candidates, (n_i,) float64.

        Raises:
            RerankerError: a score is not finite; the message names query, document and passage.
        """
        check_queries(queries, candidates)
        passages = [split_candidates(given, self._splitting, self._token_spans) for given in candidates]
        found = self._scorer.score(queries, candidates, passages)
        return [
            check_scores(self._aggregation.of_documents(scores, split.firsts), query, given, self.name)
            for scores, split, query, given in zip(found, passages, queries, candidates, strict=True)
        ]

    def close(self) -> None:
        """Close the reranker that reads the passages."""
        self._scorer.reranker.close()


def as_aggregation(aggregate: str | Aggregation) -> Aggregation:
    """Return how passages become a document's score from its name; "sum" is `SUM`.

    Raises:
        RerankerError: there is none of that name.
    """
    if isinstance(aggregate, Aggregation):
        return aggregate
    if aggregate == "sum":
        return SUM
    try:
        return Aggregation(aggregate)  # type: ignore[arg-type]
    except VectorError as error:
        raise RerankerError(f"{error}, or 'sum'") from None
