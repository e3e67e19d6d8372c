"""Localized contrastive estimation: the positive among the hard negatives of its own query.

Gao, Dai and Callan, "Rethink Training of BERT Rerankers in Multi-Stage Retrieval Pipeline" (arXiv 2101.08751). What
makes it localized is where negatives come from: the top of the ranking that is to be reranked.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from retrieval.training.ranking_loss import RankingLoss, check_negatives

DATA = ("tuples", "scored_tuples")


def localized_contrastive(scores: Tensor) -> Tensor:
    """Return the mean over queries of -log softmax of the positive's score among the query's own passages.

        L = mean of -log( exp(s+) / (exp(s+) + sum over the negatives of exp(s-)) )

    With one negative it is `ranknet`. What is added to all scores of a query changes nothing.

    Args:
        scores: (tuples, 1 + negatives), the positive's first.

    Returns:
        A scalar.

    Raises:
        TrainingDataError: there are no negatives.
    """
    check_negatives(scores)
    return cross_entropy(scores, torch.zeros(len(scores), dtype=torch.long, device=scores.device))


def build_loss(model: Any) -> RankingLoss:
    """Return the loss over batches of query, positive and negatives; a teacher's scores are not looked at.

    Args:
        model: a ranking network or a bi-encoder.
    """
    return RankingLoss(model, lambda scores, _teacher: localized_contrastive(scores), needs_teacher=False)
