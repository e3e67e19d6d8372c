"""What ranking networks share: rows of a query and its passages in, one score for each row out.

Training, scoring and files know no more of an architecture than this, so that one trainer, one set of losses and one
reranker serve all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from indexes.token_vectors import TokenVectors
from retrieval.batching import plan_batches
from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.errors import RerankerError
from retrieval.models.rankers.packed import padded


class RankingNetwork(nn.Module):
    """A network that scores passages for queries.

    Attributes:
        kind: what its folder and recipes call it.
        scores_are_logits: whether the logistic function of a score is a probability, as of a cross-encoder's.
        passages_per_score: 1 where a score belongs to a query and a passage, 2 where it compares two passages.
        inputs_per_score: inputs of the encoder that a score takes at most.
    """

    kind: ClassVar[str]
    passages_per_score: ClassVar[int] = 1
    scores_are_logits: ClassVar[bool] = False
    inputs_per_score: int = 1

    @abstractmethod
    def prepare(self, queries: Sequence[str], passages: Sequence[str], rows: np.ndarray) -> PreparedTexts:
        """Tokenise texts, each once, for rows to be taken in batches; may run beside `forward` in another thread.

        Args:
            queries: distinct ones.
            passages: distinct ones.
            rows: (n, 1 + passages_per_score) int64, the numbers of a query and of its passages.

        Returns:
            Tokens of each row, and what makes `forward`'s features of some rows: tensors on the processor.
        """

    @abstractmethod
    def forward(self, features: dict[str, Any]) -> Tensor:
        """Return the scores of rows, (n,), higher is better; of two passages, that the first one is more relevant.

        Scores are unbounded: logits where `scores_are_logits`, else inner products and their sums.
        """

    def describe(self) -> dict[str, Any]:
        """Return what decides the scores beside the weights, as JSON values: the kind, settings, the tokenizer."""
        return {"kind": self.kind}

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write settings, weights and tokenizer as JSON and safetensors; the folder is made where it is missing."""

    @classmethod
    @abstractmethod
    def load(cls, folder: str | Path) -> Self:
        """Read what `save` wrote, ready to score.

        Raises:
            RerankerError: there is no such network, or its weights are of other names or shapes.
        """

    def full_rows(self, features: dict[str, Any]) -> int | None:  # noqa: ARG002
        """Return how many rows have as many tokens as are read, so that longer texts were cut; None: it is not known.

        Args:
            features: as for `forward`.
        """
        return None


class TwoSidedNetwork(RankingNetwork):
    """A network whose passages pass through it without the query, as far as `encode_passages`: their states are kept.

    Attributes:
        width: numbers of a state of a passage's token.
    """

    width: int

    @abstractmethod
    def prepare_queries(self, queries: Sequence[str]) -> PreparedTexts:
        """Tokenise queries; a feature's rows are queries."""

    @abstractmethod
    def prepare_passages(self, passages: Sequence[str]) -> PreparedTexts:
        """Tokenise passages; a feature's rows are passages."""

    @abstractmethod
    def encode_queries(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return states, (n, query tokens, any width), and a mask of those that count, (n, query tokens) bool."""

    @abstractmethod
    def encode_passages(self, features: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return states, (n, passage tokens, width), and a mask of those that count, (n, passage tokens) bool.

        What counts stands first in a row: states are stored without the rest.
        """

    @abstractmethod
    def interact(self, queries: Tensor, query_mask: Tensor, passages: Tensor, passage_mask: Tensor) -> Tensor:
        """Return the score of each query with the passage in the same row, (n,).

        Args:
            queries: (n, query tokens, any width), as from `encode_queries`.
            query_mask: (n, query tokens) bool.
            passages: (n, passage tokens, width), as from `encode_passages`, or stored and read again.
            passage_mask: (n, passage tokens) bool.
        """

    def interact_packed(self, query: Tensor, passages: TokenVectors, batch_tokens: int = 2048) -> np.ndarray:
        """Return the scores of one query with stored passages, (n,) float32, without gradients.

        Args:
            query: (query tokens, any width), the states of the query that count.
            passages: their states.
            batch_tokens: of the rows that interact together, padding and the query's tokens included.

        Raises:
            RerankerError: `interact` returned something else than one score for each row.
        """
        device = next(self.parameters()).device
        scores = np.empty(len(passages), np.float32)
        for rows in plan_batches(passages.lengths + len(query), batch_tokens):
            states, mask = padded(passages, rows)
            queries = query.to(device).expand(len(rows), -1, -1)
            query_mask = torch.ones(queries.shape[:2], dtype=torch.bool, device=device)
            with torch.inference_mode():
                found = self.interact(queries, query_mask, states.to(queries), mask.to(device))
            if tuple(found.shape) != (len(rows),):
                raise RerankerError(
                    f"network {self.kind!r} returned scores {tuple(found.shape)} for {len(rows):,} passages: one each"
                )
            scores[rows] = found.float().cpu().numpy()
        return scores

    def prepare(self, queries: Sequence[str], passages: Sequence[str], rows: np.ndarray) -> PreparedTexts:
        """Tokenise both sides; a batch holds each of its texts once."""
        of_queries, of_passages = self.prepare_queries(queries), self.prepare_passages(passages)

        def features(chosen: np.ndarray) -> dict[str, Any]:
            used_queries, query_of_row = np.unique(rows[chosen, 0], return_inverse=True)
            used_passages, passage_of_row = np.unique(rows[chosen, 1], return_inverse=True)
            return {
                "queries": of_queries.features(used_queries),
                "passages": of_passages.features(used_passages),
                "query_of_row": torch.from_numpy(query_of_row.reshape(-1)),
                "passage_of_row": torch.from_numpy(passage_of_row.reshape(-1)),
            }

        return PreparedTexts(of_queries.lengths[rows[:, 0]] + of_passages.lengths[rows[:, 1]], features)

    def forward(self, features: dict[str, Any]) -> Tensor:
        """Encode both sides and let each row's states meet; (n,)."""
        queries, query_mask = self.encode_queries(features["queries"])
        passages, passage_mask = self.encode_passages(features["passages"])
        query, passage = features["query_of_row"], features["passage_of_row"]
        return self.interact(queries[query], query_mask[query], passages[passage], passage_mask[passage])
