"""Pointwise reranking: a model reads a query and one document, and says how relevant it is (monoBERT).

Source: Nogueira, Yang, Cho and Lin (2019), "Multi-Stage Document Ranking with BERT", arXiv 1910.14424, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from retrieval.batching import plan_windows
from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.rerankers.base import Candidates, ScoreKind, check_queries, check_scores
from retrieval.rerankers.classifier import WINDOW, SequenceClassifier, relevance
from retrieval.rerankers.pair_inputs import PairInputs
from retrieval.rerankers.pairs import Pairs, find_pairs


class MonoReranker:
    """Scores each candidate by itself: n model calls for n candidates, equal texts of a query once.

    One logit is the score; of two, `log_softmax(logits)[1]` is. A pair's score differs between batches by rounding
    only: in fp32 by at most 1e-5 for logits up to 10; equal texts of a query tie exactly.

    Args:
        classifier: the model.
        inputs: make what it reads.
        name: what the reranker is called.
        identity: of weights, tokenizer and backbone.
    """

    def __init__(self, classifier: SequenceClassifier, inputs: PairInputs, name: str, identity: dict[str, Any]) -> None:
        self._classifier = classifier
        self._inputs = inputs
        self._name = name
        self._identity = {
            "kind": "mono",
            **identity,
            "query_tokens": inputs.query_tokens,
            "max_tokens": inputs.max_tokens,
        }

    @property
    def name(self) -> str:
        """The path or name that it was loaded from."""
        return self._name

    @property
    def scores_are(self) -> ScoreKind:
        """Logits of a model with one label, logarithms of probabilities of one with two."""
        return "logits" if self._classifier.n_labels == 1 else "log-probabilities"

    def identity(self) -> dict[str, Any]:
        """Return digests of weights and tokenizer, the backbone's settings, prompt and token budgets."""
        return dict(self._identity)

    def execution(self) -> dict[str, Any]:
        """Return precision, runtime, device, batch size and versions."""
        return self._classifier.execution()

    def calls(self, n: int) -> int:
        """Return n: every candidate goes through the model once, equal texts of a query together."""
        return n

    def score(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return the scores of each query's candidates, (n_i,) float64.

        Raises:
            RerankerError: a score is not finite; the message names query and document.
        """
        return self._checked(queries, candidates, self.logits(queries, candidates))

    def logits(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return the model's logits of each query's candidates, (n_i, 1 or 2) float32, finite or not."""
        check_queries(queries, candidates)
        found: list[np.ndarray] = []
        for asked, given in self._windows(queries, candidates):
            pairs = find_pairs(asked, given)
            found += pairs.by_query(self._classifier.logits(self._prepared(pairs)))
        return found

    def token_spans(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Return the character start and end of each token of each document, (tokens, 2) int64, nothing cut.

        Raises:
            RerankerError: the model makes its input itself.
        """
        return self._inputs.token_spans(texts)

    def close(self) -> None:
        """Let go of the model; the reranker cannot be used afterwards."""
        self._classifier.close()

    def _windows(
        self, queries: Sequence[str], candidates: Sequence[Candidates]
    ) -> Iterator[tuple[list[str], list[Candidates]]]:
        """Yield some queries with their candidates at a time, so that memory does not grow with the queries."""
        for window in plan_windows(np.array([len(given) for given in candidates], np.int64), WINDOW):
            chosen = window.tolist()
            yield [queries[number] for number in chosen], [candidates[number] for number in chosen]

    def _prepared(self, pairs: Pairs) -> PreparedTexts:
        return self._inputs.prepare(pairs.queries, pairs.documents, pairs.rows)

    def _checked(
        self, queries: Sequence[str], candidates: Sequence[Candidates], logits: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        return [
            check_scores(relevance(found), query, given, self._name)
            for found, query, given in zip(logits, queries, candidates, strict=True)
        ]
