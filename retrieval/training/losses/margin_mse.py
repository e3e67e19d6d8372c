"""Margin-MSE: a student learns by how much its teacher prefers one passage to another.

Hofstätter, Althammer, Schröder, Sertkan and Hanbury, "Improving Efficient Neural Ranking Models with Cross-Architecture
Knowledge Distillation" (arXiv 2010.02666).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from retrieval.training.ranking_loss import RankingLoss, margins

DATA = ("scored_tuples",)


def margin_mse(scores: Tensor, teacher_scores: Tensor, *, all_pairs: bool = False) -> Tensor:
    """Return the mean squared difference of the student's and the teacher's margins.

        L = mean over queries and their negatives of ((s+ - s-) - (t+ - t-))^2

    What is added to all scores of a query, by either of them, changes nothing; what they are multiplied by does: the
    student learns the scale of the teacher's margins, so that its scores must be unbounded (no cosines).

    Args:
        scores: (tuples, 1 + negatives), the positive's first.
        teacher_scores: of the same shape; constants, without a gradient.
        all_pairs: compare the margins between any two passages of a query, negatives among each other, too; the
            authors' form for lists of passages (matchmaker, losses/msmargin.py) with the whole tuple for both lists,
            each pair once. With one negative it is the same.

    Returns:
        A scalar.

    Raises:
        TrainingDataError: there are no negatives.
    """
    # Margins first: a teacher's scores may be so large that a student's would be lost in their rounding.
    errors = margins(scores) - margins(teacher_scores.detach())  # (tuples, negatives)
    if not all_pairs:
        return errors.square().mean()
    # The errors of the passages' scores against the positive's, whose own is 0. The mean over all pairs of squared
    # differences is twice the unbiased variance.
    return 2 * nn.functional.pad(errors, (1, 0)).var(dim=1).mean()


def build_loss(model: Any, *, all_pairs: bool = False, teacher_scale: float = 1.0) -> RankingLoss:
    """Return the loss over batches of query, positive, negatives and a teacher's scores.

    Args:
        model: a ranking network or a bi-encoder.
        all_pairs: see `margin_mse`.
        teacher_scale: what the teacher's scores are multiplied by, for a teacher whose margins a student cannot reach,
            or for a student whose vectors have length one.
    """
    return RankingLoss(
        model,
        lambda scores, teacher: margin_mse(scores, teacher * teacher_scale, all_pairs=all_pairs),
        needs_teacher=True,
    )
