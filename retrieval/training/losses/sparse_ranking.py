"""Ranking losses for sparse encoders whose sparsity is fixed by k: no penalty on the number of active dimensions.

    L = L_rank + binary * L_rank of the binarised vectors + balance * L_balance

L_rank compares dot products of sparse vectors: a softmax over the positive, the other texts of the batch and hard
negatives, or a hinge on the margin. The second term is for models whose vectors will be binarised: it ranks by the
number of shared dimensions already in training. L_balance keeps dimensions in use evenly.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from retrieval.errors import RetrievalError

DATA = ("sentences", "pairs", "tuples")

Objective = Literal["softmax", "hinge"]


def candidate_scores(queries: Tensor, candidates: Tensor) -> Tensor:
    """Return the dot products of all pairs, (batch, candidates).

    Args:
        queries: (batch, n).
        candidates: (m, n); the first `batch` of them are the positives, in the order of the queries.
    """
    return queries @ candidates.T


def softmax_loss(scores: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the mean cross-entropy of each query's positive among all candidates.

    Args:
        scores: (batch, m); the positive of query i is candidate i.
        temperature: scores are divided by it.
    """
    return nn.functional.cross_entropy(scores / temperature, torch.arange(len(scores), device=scores.device))


def hinge_loss(scores: Tensor, margin: float = 1.0) -> Tensor:
    """Return the mean of max(0, margin - s(q, d+) + s(q, d-)) over all queries and their negatives.

    Args:
        scores: (batch, m); the positive of query i is candidate i, all others are its negatives.
        margin: by how much a positive shall lead.
    """
    positive = scores.diagonal()[:, None]  # (batch, 1)
    shortfall = (margin - positive + scores).clamp(min=0)  # (batch, m)
    negative = ~torch.eye(*scores.shape, dtype=torch.bool, device=scores.device)
    return (shortfall * negative).sum() / negative.sum().clamp(min=1)


def balance_loss(activations: Tensor) -> Tensor:
    """Return sum_j (mean over the batch of activation j)^2, smallest where dimensions are used evenly.

    Args:
        activations: (texts, n), at least 0.

    The FLOPS term of Paria et al. 2020, "Minimizing FLOPs to learn efficient sparse representations" (equation 4). With
    k fixed it cannot buy sparsity, so it evens out which dimensions are used.
    """
    return activations.mean(0).square().sum()


def straight_through(activations: Tensor) -> Tensor:
    """Return 1 for each active dimension, with the gradient of the activations themselves.

    The straight-through estimator of Bengio, Léonard & Courville 2013, "Estimating or propagating gradients through
    stochastic neurons for conditional computation".

    Args:
        activations: (texts, n), at least 0; what is not active gets a gradient too, and has none to pass on.
    """
    return activations - activations.detach() + (activations > 0).to(activations.dtype)  # in this order exactly 0 or 1


class SparseRankingLoss(nn.Module):
    """The loss of a sparse encoder over queries, positives and, where given, hard negatives.

    It takes the columns of sentence-transformers' trainers: queries, positives, then any number of columns of
    negatives. Queries are encoded with task="query", the others with task="document".

    Args:
        model: a `SparseEncoder`.
        objective: "softmax" over all texts of the batch, or "hinge" on the margin to each of them.
        temperature: divides the scores of the softmax.
        margin: of the hinge.
        binary: weight of the ranking loss of the binarised vectors, for models that will be binarised; 0 leaves it out.
        binary_temperature: divides their scores, numbers of shared dimensions, in the softmax.
        balance: weight of `balance_loss` over queries and, likewise, over the other texts; 0 leaves it out.

    Raises:
        RetrievalError: a setting is out of its range.
    """

    def __init__(
        self,
        model: Any,
        *,
        objective: Objective = "softmax",
        temperature: float = 1.0,
        margin: float = 1.0,
        binary: float = 0.0,
        binary_temperature: float = 1.0,
        balance: float = 0.0,
    ) -> None:
        super().__init__()
        if objective not in ("softmax", "hinge"):
            raise RetrievalError(f"unknown objective {objective!r}: 'softmax' or 'hinge'")
        if not (temperature > 0 and margin > 0 and binary_temperature > 0):
            raise RetrievalError(
                f"temperatures and margin must be positive, not {temperature!r}, {binary_temperature!r} and {margin!r}"
            )
        if not (binary >= 0 and balance >= 0):
            raise RetrievalError(f"binary and balance must be at least 0, not {binary!r} and {balance!r}")
        self.model = model
        self.objective = objective
        self.temperature = temperature
        self.margin = margin
        self.binary = binary
        self.binary_temperature = binary_temperature
        self.balance = balance

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the loss of a batch.

        Args:
            sentence_features: the tokenised columns, at least queries and positives.
            labels: not used; trainers pass it.

        Raises:
            RetrievalError: a column is missing.
        """
        columns = list(sentence_features)
        if len(columns) < 2:
            raise RetrievalError(f"queries and positives are needed, {len(columns)} columns came")
        queries = self._encoded(columns[0], "query")  # (batch, n)
        candidates = torch.cat([self._encoded(column, "document") for column in columns[1:]])  # (m, n)
        loss = self._ranking(candidate_scores(queries, candidates), self.temperature)
        if self.binary:
            overlaps = candidate_scores(self._binarised(queries), straight_through(candidates))
            loss = loss + self.binary * self._ranking(overlaps, self.binary_temperature)
        if self.balance:
            loss = loss + self.balance * (balance_loss(queries) + balance_loss(candidates))
        return loss

    def get_config_dict(self) -> dict[str, Any]:
        """Return the settings, for model cards."""
        names = ("objective", "temperature", "margin", "binary", "binary_temperature", "balance")
        return {name: getattr(self, name) for name in names}

    def _ranking(self, scores: Tensor, temperature: float) -> Tensor:
        return softmax_loss(scores, temperature) if self.objective == "softmax" else hinge_loss(scores, self.margin)

    def _binarised(self, queries: Tensor) -> Tensor:
        """Return what queries become once they are binarised, (batch, n), with the gradient of their activations."""
        return straight_through(queries)

    def _encoded(self, features: dict[str, Any], task: str) -> Tensor:
        encoded: Tensor = self.model(features, task=task)["sentence_embedding"]
        return encoded


def build_loss(
    model: Any,
    *,
    objective: Objective = "softmax",
    temperature: float = 1.0,
    margin: float = 1.0,
    binary: float = 0.0,
    binary_temperature: float = 1.0,
    balance: float = 0.0,
) -> SparseRankingLoss:
    """Return the loss over batches of query, positive and any number of negatives, for any sparse encoder."""
    return SparseRankingLoss(
        model,
        objective=objective,
        temperature=temperature,
        margin=margin,
        binary=binary,
        binary_temperature=binary_temperature,
        balance=balance,
    )
