"""Birch: the best sentences of a document, and what the first stage made of it.

`score(d) = a · first(d) + (1 - a) · sum_i w_i s_i` over the scores s_1 ≥ s_2 ≥ … of the document's best sentences
(Akkalyoncu Yilmaz, Yang, Zhang and Lin, EMNLP-IJCNLP 2019, "Cross-Domain Modeling of Sentence-Level Evidence for
Document Retrieval"). The authors' code adds BM25's scores as they are and the model's logits; here both are brought to
one scale where nothing else is said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from retrieval.errors import RerankerError
from retrieval.fusion import min_max, z_scores
from retrieval.rerankers.base import Candidates, Reranker, check_queries, check_scores
from retrieval.rerankers.passage_scores import PassageScorer
from retrieval.rerankers.splitting import Splitting, split_candidates

Normalisation = Literal["min-max", "z-score", "none"]

SENTENCES = Splitting(size=1, stride=1, unit="sentences", most=100)
"""Each sentence by itself, 100 of a document at most."""


@dataclass(frozen=True)
class Interpolation:
    """How the first stage's score and those of the best sentences are added up.

    Attributes:
        first: a, what the first stage counts, 0 to 1; the sentences count 1 - a.
        weights: of the best sentence, of the second best and so on; the study has three, 1 the first, and tunes the
            others and a on judged queries (`eval.tuning.tune_interpolation`).

    Raises:
        RerankerError: a value is out of its range.
    """

    first: float = 0.5
    weights: tuple[float, ...] = (1.0, 0.5, 0.25)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
        if not 0 <= self.first <= 1:
            raise RerankerError(f"the first stage counts 0 to 1, not {self.first!r}")
        if not self.weights or not all(np.isfinite(weight) and weight >= 0 for weight in self.weights):
            raise RerankerError(f"sentences need weights, 0 or more, not {self.weights!r}")

    def scores(self, parts: Parts) -> np.ndarray:
        """Return the scores of documents, (n,) float64."""
        total = np.zeros(len(parts.first))
        for weight, scores in zip(self.weights, parts.sentences.T, strict=False):  # in one order, whatever the company
            total += weight * scores
        return self.first * parts.first + (1 - self.first) * total


class Parts(NamedTuple):
    """What the scores of a query's candidates are made of.

    Attributes:
        first: (n,) float64, of the first stage, normalised.
        sentences: (n, k) float64, of the k best sentences, best first; 0 where a document has fewer.
    """

    first: np.ndarray
    sentences: np.ndarray


class BirchReranker:
    """Scores documents by their best sentences and the score of the stage before.

    Args:
        reranker: reads the sentences; a pointwise one.
        interpolation: what counts how much.
        normalisation: of the scores of the stage before, over a query's candidates: "min-max" to [0, 1], "z-score" to
            mean 0 and variance 1, "none". Both are blind to a constant that is added to all scores.
        splitting: what a sentence is; windows of several are possible.
        probabilities: whether the model's scores become probabilities of relevance; see `PassageScorer`. None for yes
            where it is known how.

    Raises:
        RerankerError: the reranker is not pointwise, or a setting makes no sense.
    """

    def __init__(
        self,
        reranker: Reranker,
        interpolation: Interpolation | None = None,
        *,
        normalisation: Normalisation = "min-max",
        splitting: Splitting = SENTENCES,
        probabilities: bool | None = None,
    ) -> None:
        if normalisation not in get_args(Normalisation):
            known = ", ".join(get_args(Normalisation))
            raise RerankerError(f"unknown normalisation {normalisation!r}: one of {known}")
        self._interpolation = interpolation or Interpolation()
        self._normalisation = normalisation
        self._scorer = PassageScorer(reranker, probabilities, "Birch")
        self._splitting = splitting
        self._token_spans = self._scorer.token_spans(splitting)

    @property
    def pointwise(self) -> bool:
        """That a score is not the candidate's own: the score of the stage before is part of it."""
        return False

    @property
    def name(self) -> str:
        """The reranker's name, and that it reads sentences."""
        return f"{self._scorer.reranker.name} (best sentences)"

    def identity(self) -> dict[str, Any]:
        """Return the reranker's identity, how documents are cut and how scores are added up."""
        return {
            "kind": "birch",
            **self._scorer.identity(),
            "first": self._interpolation.first,
            "weights": list(self._interpolation.weights),
            "normalisation": self._normalisation,
            "splitting": asdict(self._splitting),
        }

    def execution(self) -> dict[str, Any]:
        """Return how the reranker computes its scores."""
        return {"runtime": "birch", "reranker": self._scorer.reranker.execution()}

    def calls(self, n: int) -> int:
        """Return the sentences of n documents, if each has as many as are read; `calls_for` knows their texts."""
        return n * self._splitting.most

    def calls_for(self, candidates: Candidates) -> int:
        """Return how many distinct sentences the candidates of a query have."""
        return len(set(split_candidates(candidates, self._splitting, self._token_spans).passages))

    def score(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return the scores of each query's candidates, (n_i,) float64.

        Raises:
            RerankerError: a score is not finite; the message names query, document and sentence.
        """
        n_sentences = len(self._interpolation.weights)
        return [
            check_scores(self._interpolation.scores(parts), query, given, self.name)
            for parts, query, given in zip(
                self.parts(queries, candidates, n_sentences), queries, candidates, strict=True
            )
        ]

    def parts(self, queries: Sequence[str], candidates: Sequence[Candidates], n_sentences: int = 3) -> list[Parts]:
        """Return what scores are made of: enough to try many interpolations with one run of the model.

        Args:
            queries: their texts.
            candidates: of each query.
            n_sentences: best sentences of a document.

        Raises:
            RerankerError: as for `score`.
        """
        check_queries(queries, candidates)
        passages = [split_candidates(given, self._splitting, self._token_spans) for given in candidates]
        found = self._scorer.score(queries, candidates, passages)
        return [
            Parts(self._normalised(given.scores), _best(scores, split.firsts, n_sentences))
            for scores, split, given in zip(found, passages, candidates, strict=True)
        ]

    def close(self) -> None:
        """Close the reranker that reads the sentences."""
        self._scorer.reranker.close()

    def _normalised(self, scores: np.ndarray) -> np.ndarray:
        scores = np.asarray(scores, np.float64)
        if self._normalisation == "none":
            return scores
        return min_max(scores) if self._normalisation == "min-max" else z_scores(scores)


def _best(scores: np.ndarray, firsts: np.ndarray, k: int) -> np.ndarray:
    """Return the k best scores of each document, (n, k), best first; 0 where there are fewer."""
    best = np.zeros((len(firsts), k))
    for row, own in enumerate(np.split(scores, firsts[1:]) if len(firsts) else []):
        head = np.sort(own)[::-1][:k]
        best[row, : len(head)] = head
    return best
