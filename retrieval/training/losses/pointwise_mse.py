"""Pointwise MSE: a student learns its teacher's scores themselves, scale and offset included.

One of the losses that Margin-MSE is compared with (arXiv 2010.02666; matchmaker, losses/teacher_mse_pointwise.py).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from retrieval.training.ranking_loss import RankingLoss, check_negatives

DATA = ("scored_tuples",)


def pointwise_mse(scores: Tensor, teacher_scores: Tensor) -> Tensor:
    """Return the mean squared error of the scores; positives count as much as all negatives together.

        L = (mean of (s+ - t+)^2 + mean of (s- - t-)^2) / 2

    Args:
        scores: (tuples, 1 + negatives), the positive's first.
        teacher_scores: of the same shape; constants, without a gradient.

    Returns:
        A scalar.

    Raises:
        TrainingDataError: there are no negatives.
    """
    check_negatives(scores)
    errors = (scores - teacher_scores.detach()).square()
    return (errors[:, 0].mean() + errors[:, 1:].mean()) / 2


def build_loss(model: Any, *, teacher_scale: float = 1.0) -> RankingLoss:
    """Return the loss over batches of query, positive, negatives and a teacher's scores.

    It needs the scores themselves: of examples that have margins alone it makes no sense.

    Args:
        model: a ranking network or a bi-encoder.
        teacher_scale: what the teacher's scores are multiplied by.
    """
    return RankingLoss(
        model, lambda scores, teacher: pointwise_mse(scores, teacher * teacher_scale), needs_teacher=True
    )
