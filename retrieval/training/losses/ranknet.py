"""RankNet: the cross-entropy of which of two passages is the more relevant one.

Burges et al., "Learning to Rank using Gradient Descent" (ICML 2005), with labels that put the positive first; the
weighted form is one of those that Margin-MSE is compared with (arXiv 2010.02666).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import softplus

from retrieval.training.ranking_loss import RankingLoss, margins

DATA = ("tuples", "scored_tuples")


def ranknet(scores: Tensor, teacher_scores: Tensor | None = None) -> Tensor:
    """Return the mean over queries and their negatives of -log sigmoid(s+ - s-), weighted where there is a teacher.

        L = mean of w log(1 + exp(-(s+ - s-))),  w = t+ - t-, or 1

    Where the teacher prefers the negative, so does the loss: it takes it for the positive and weighs by the margin
    without its sign. (A negative weight, as in the authors' code, has no lower bound: it drives scores apart for ever.)

    Args:
        scores: (tuples, 1 + negatives), the positive's first.
        teacher_scores: of the same shape, constants; None weighs all alike.

    Returns:
        A scalar.

    Raises:
        TrainingDataError: there are no negatives.
    """
    found = margins(scores)  # (tuples, negatives)
    if teacher_scores is None:
        return softplus(-found).mean()
    wanted = margins(teacher_scores.detach())  # (tuples, negatives)
    return (wanted.abs() * softplus(-wanted.sign() * found)).mean()


def build_loss(model: Any, *, weighted: bool = False) -> RankingLoss:
    """Return the loss over batches of query, positive and negatives.

    Args:
        model: a ranking network or a bi-encoder.
        weighted: by a teacher's margins, which the examples then must have; otherwise such scores are not looked at.
    """
    return RankingLoss(
        model, lambda scores, teacher: ranknet(scores, teacher if weighted else None), needs_teacher=weighted
    )
