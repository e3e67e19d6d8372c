"""Pointwise MSE and RankNet together: the teacher's scores, and the positive above the negatives whatever it says.

One of the losses that Margin-MSE is compared with (arXiv 2010.02666; matchmaker, losses/teacher_mse_ranknet.py).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from retrieval.training.losses.pointwise_mse import pointwise_mse
from retrieval.training.losses.ranknet import ranknet
from retrieval.training.ranking_loss import RankingLoss

DATA = ("scored_tuples",)


def pointwise_mse_ranknet(scores: Tensor, teacher_scores: Tensor) -> Tensor:
    """Return the sum of `pointwise_mse` and unweighted `ranknet`, a scalar.

    Args:
        scores: (tuples, 1 + negatives), the positive's first.
        teacher_scores: of the same shape; constants, without a gradient.

    Raises:
        TrainingDataError: there are no negatives.
    """
    return pointwise_mse(scores, teacher_scores) + ranknet(scores)


def build_loss(model: Any, *, teacher_scale: float = 1.0) -> RankingLoss:
    """Return the loss over batches of query, positive, negatives and a teacher's scores.

    Args:
        model: a ranking network or a bi-encoder.
        teacher_scale: what the teacher's scores are multiplied by.
    """
    return RankingLoss(
        model, lambda scores, teacher: pointwise_mse_ranknet(scores, teacher * teacher_scale), needs_teacher=True
    )
