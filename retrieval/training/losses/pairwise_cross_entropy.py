"""Cross-entropy of which of two passages is more relevant: duoBERT's loss (arXiv 1910.14424, section 3.3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from retrieval.training.ranking_loss import RankingLoss

DATA = ("tuples", "scored_tuples")


def pairwise_cross_entropy(scores: Tensor, teacher: Tensor | None = None) -> Tensor:  # noqa: ARG001
    """Return the mean over all rows of −log p_ij where i is the positive and −log(1 − p_ij) where j is.

    p_ij = sigmoid(score) is the probability that i is more relevant than j. Both orders are learnt from, since nothing
    in the network makes p_ij + p_ji = 1.

    Args:
        scores: (tuples, 2 · negatives): of each negative the score of (positive, negative), then of (negative,
            positive).
        teacher: not looked at.

    Returns:
        A scalar.
    """
    first_is_positive = torch.zeros_like(scores)
    first_is_positive[:, ::2] = 1.0
    return nn.functional.binary_cross_entropy_with_logits(scores, first_is_positive)


class PairwiseRankingLoss(RankingLoss):
    """A loss for networks that compare two passages.

    Attributes:
        passages_per_score: of these networks; losses without it are for scores of single passages.
    """

    passages_per_score = 2


def build_loss(model: Any) -> PairwiseRankingLoss:
    """Return the loss over batches of a query, its positive and any number of negatives; it has no settings."""
    return PairwiseRankingLoss(model, pairwise_cross_entropy, needs_teacher=False)
