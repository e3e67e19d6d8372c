"""Pairwise reranking: a model reads a query and two documents, and says which is more relevant (duoBERT).

Source: Nogueira, Yang, Cho and Lin (2019), "Multi-Stage Document Ranking with BERT", arXiv 1910.14424, section 3.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrieval.batching import distinct, plan_windows
from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.encoders.tokenization import FastTokenizer
from retrieval.errors import RerankerError
from retrieval.rerankers.aggregation import Aggregation
from retrieval.rerankers.base import Candidates, check_queries, check_scores
from retrieval.rerankers.classifier import WINDOW, SequenceClassifier, probability
from retrieval.rerankers.sequences import Layout, Sequences

N_SEGMENTS = 3

_SHOWN = 80


@dataclass(frozen=True)
class DuoBudget:
    """Pieces of the texts that are read, without special tokens: 62 + 223 + 223 and 4 special tokens are 512.

    Attributes:
        query: of the query.
        document: of each document.

    Raises:
        RerankerError: one of them is not at least 1.
    """

    query: int = 62
    document: int = 223

    def __post_init__(self) -> None:
        if min(self.query, self.document) < 1:
            raise RerankerError(f"token budgets must be at least 1, not {self.query} and {self.document}")


class DuoInputs:
    """`[CLS] q [SEP] d_i [SEP] d_j [SEP]` in segments 0, 1 and 2, each text tokenised once.

    Args:
        tokenizer: of transformers, a fast one.
        budget: of each text.

    Attributes:
        pad_id: the token that stands where no token is.

    Raises:
        UnknownTokenizerError: the tokenizer cannot be used outside of its library.
    """

    def __init__(self, tokenizer: Any, budget: DuoBudget) -> None:
        self._layout = Layout.of_pairs(tokenizer).with_third()
        self._tokenizer = FastTokenizer(tokenizer.backend_tokenizer)
        self.pad_id: int = tokenizer.pad_token_id or 0
        self._pads_left = tokenizer.padding_side == "left"
        self._budget = budget

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest input."""
        return self._budget.query + 2 * self._budget.document + self._layout.n_special

    def prepare(self, queries: Sequence[str], documents: Sequence[str], triples: np.ndarray) -> PreparedTexts:
        """Tokenise queries and documents.

        Args:
            queries: distinct ones.
            documents: distinct ones.
            triples: (n, 3) int64, a query and two documents each.
        """
        of_queries = self._tokenizer.pieces(queries, max_tokens=self._budget.query)
        pieces = [*of_queries, *self._tokenizer.pieces(documents, max_tokens=self._budget.document)]
        texts = triples + np.array([0, len(queries), len(queries)])  # (n, 3)
        kept = np.array([len(text) for text in pieces], np.int64)[texts]  # (n, 3)
        made = Sequences(self._layout, pieces, texts, kept, self.pad_id, self._pads_left, has_segments=True)
        return PreparedTexts(made.lengths, made.features, None if self._pads_left else made.tokens)


class DuoReranker:
    """Compares candidates two by two: n·(n - 1) model calls for n candidates, n·m where m are drawn for each.

    The probability that i is more relevant than j is softmax(logits)[1], of one logit its sigmoid; `Aggregation` says
    what score comes of the probabilities. A single candidate is not compared, so the model is not called. In fp32, a
    probability differs between batches by at most 1e-5.

    Args:
        classifier: the model, with three segments.
        inputs: make what it reads.
        aggregation: which documents are compared, and what score comes of it.
        name: what the reranker is called.
        identity: of weights, tokenizer, backbone and budget.
    """

    def __init__(
        self,
        classifier: SequenceClassifier,
        inputs: DuoInputs,
        aggregation: Aggregation,
        name: str,
        identity: dict[str, Any],
    ) -> None:
        self._classifier = classifier
        self._inputs = inputs
        self._aggregation = aggregation
        self._name = name
        self._identity = {"kind": "duo", **identity, "aggregation": aggregation.describe()}

    @property
    def name(self) -> str:
        """The path that it was loaded from."""
        return self._name

    @property
    def aggregation(self) -> Aggregation:
        """Which documents are compared, and what score comes of it."""
        return self._aggregation

    def identity(self) -> dict[str, Any]:
        """Return digests of weights and tokenizer, the backbone's settings, token budgets and aggregation."""
        return dict(self._identity)

    def execution(self) -> dict[str, Any]:
        """Return precision, runtime, device, batch size and versions."""
        return self._classifier.execution()

    def calls(self, n: int) -> int:
        """Return the ordered pairs of n candidates that are compared; see `Aggregation.calls`."""
        return self._aggregation.calls(n)

    def score(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return the scores of each query's candidates, (n_i,) float64.

        Raises:
            RerankerError: a probability is not a finite number; the message names query and documents.
        """
        scores: list[np.ndarray] = []
        for given, (pairs, found) in zip(candidates, self._compared(queries, candidates), strict=True):
            query = queries[len(scores)]
            scores.append(check_scores(self._aggregation.scores(len(given), pairs, found), query, given, self._name))
        return scores

    def probabilities(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return for each query the matrix of p_ij, (n_i, n_i) float64, NaN where i and j were not compared.

        Raises:
            RerankerError: as `score`.
        """
        matrices = []
        for given, (pairs, found) in zip(candidates, self._compared(queries, candidates), strict=True):
            matrix = np.full((len(given), len(given)), np.nan)
            matrix[pairs[:, 0], pairs[:, 1]] = found
            matrices.append(matrix)
        return matrices

    def close(self) -> None:
        """Let go of the model; the reranker cannot be used afterwards."""
        self._classifier.close()

    def _compared(
        self, queries: Sequence[str], candidates: Sequence[Candidates]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return for each query the pairs that were compared, (c, 2) int64, and their probabilities, (c,) float64."""
        check_queries(queries, candidates)
        compared: list[tuple[np.ndarray, np.ndarray]] = []
        for window in plan_windows(np.array([self.calls(len(given)) for given in candidates], np.int64), WINDOW):
            chosen = window.tolist()
            compared += self._compare([queries[number] for number in chosen], [candidates[number] for number in chosen])
        return compared

    def _compare(self, queries: list[str], candidates: list[Candidates]) -> list[tuple[np.ndarray, np.ndarray]]:
        pairs = [self._aggregation.pairs(query, given.ids) for query, given in zip(queries, candidates, strict=True)]
        counts = [len(of_query) for of_query in pairs]
        if not sum(counts):
            return [(of_query, np.empty(0, np.float64)) for of_query in pairs]
        distinct_queries, of_queries = distinct(queries)
        documents, of_documents = distinct(text for given in candidates for text in given.texts)
        starts = np.cumsum([0, *(len(given) for given in candidates)])
        inputs = np.concatenate(
            [
                np.column_stack([np.full(len(of_query), query), of_documents[of_query + start]])
                for query, of_query, start in zip(of_queries.tolist(), pairs, starts[:-1].tolist(), strict=True)
            ]
        )  # (sum of counts, 3)
        wanted, places = np.unique(inputs, axis=0, return_inverse=True)
        found = probability(self._classifier.logits(self._inputs.prepare(distinct_queries, documents, wanted)))
        parts = np.split(found[places.reshape(-1)], np.cumsum(counts)[:-1])
        for query, given, of_query, part in zip(queries, candidates, pairs, parts, strict=True):
            self._check(query, given, of_query, part)
        return list(zip(pairs, parts, strict=True))

    def _check(self, query: str, candidates: Candidates, pairs: np.ndarray, probabilities: np.ndarray) -> None:
        broken = np.flatnonzero(~np.isfinite(probabilities))
        if len(broken):
            first, second = (candidates.ids[number] for number in pairs[broken[0]].tolist())
            raise RerankerError(
                f"reranker {self._name!r} returned {probabilities[broken[0]]} for documents {first!r} and {second!r} "
                f"and query {query[:_SHOWN]!r} ({len(broken)} of its {len(pairs)} comparisons are not finite)"
            )
