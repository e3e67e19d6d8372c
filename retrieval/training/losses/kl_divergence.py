"""KL divergence: a student learns how its teacher distributes relevance over a query's passages.

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531), with the passages of a
tuple for classes.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn.functional import kl_div, log_softmax

from retrieval.training.embedding_loss import check_temperature
from retrieval.training.ranking_loss import RankingLoss, check_negatives

DATA = ("scored_tuples",)


def kl_divergence(scores: Tensor, teacher_scores: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Return the mean over queries of T^2 KL(softmax(t / T) || softmax(s / T)).

    With the square of the temperature, gradients keep their size when it changes (section 2 of the paper). What is
    added to all scores of a query changes nothing.

    Args:
        scores: (tuples, 1 + negatives), the positive's first.
        teacher_scores: of the same shape; constants, without a gradient.
        temperature: T; above 1 it lets the passages behind the best one count for more.

    Returns:
        A scalar.

    Raises:
        TrainingDataError: there are no negatives.
    """
    check_negatives(scores)
    found, wanted = (log_softmax(given / temperature, dim=1) for given in (scores, teacher_scores.detach()))
    return temperature**2 * kl_div(found, wanted, reduction="batchmean", log_target=True)


def build_loss(model: Any, *, temperature: float = 1.0, teacher_scale: float = 1.0) -> RankingLoss:
    """Return the loss over batches of query, positive, negatives and a teacher's scores.

    Args:
        model: a ranking network or a bi-encoder.
        temperature: of both distributions.
        teacher_scale: what the teacher's scores are multiplied by, where they spread otherwise than the student's.

    Raises:
        RecipeError: the temperature is not positive.
    """
    check_temperature(temperature)
    return RankingLoss(
        model,
        lambda scores, teacher: kl_divergence(scores, teacher * teacher_scale, temperature=temperature),
        needs_teacher=True,
    )
