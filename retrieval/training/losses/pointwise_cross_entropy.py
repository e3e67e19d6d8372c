"""Cross-entropy of relevance: monoBERT's loss (arXiv 1910.14424, section 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from retrieval.training.ranking_loss import RankingLoss

DATA = ("tuples", "scored_tuples")


def pointwise_cross_entropy(scores: Tensor, teacher: Tensor | None = None) -> Tensor:  # noqa: ARG001
    """Return the mean over all rows of −log p of a positive and −log(1 − p) of a negative, p = sigmoid(score).

    The paper adds up over the passages of a query; the mean keeps the learning rate independent of the batch.

    Args:
        scores: (tuples, 1 + negatives), the positive's first.
        teacher: not looked at.

    Returns:
        A scalar.
    """
    relevant = torch.zeros_like(scores)
    relevant[:, 0] = 1.0
    return nn.functional.binary_cross_entropy_with_logits(scores, relevant)


def build_loss(model: Any) -> RankingLoss:
    """Return the loss over batches of a query, its positive and any number of negatives; it has no settings."""
    return RankingLoss(model, pointwise_cross_entropy, needs_teacher=False)
