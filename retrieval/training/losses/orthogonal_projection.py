"""Orthogonal projection loss, which needs no other texts in the batch: (cos(q, p) - y)^2 (arXiv 2402.07440, M2-BERT).

A batch of one long text leaves InfoNCE without negatives. Here a pair is enough: positives are pulled to a cosine of 1,
negatives to 0, at right angles, and not beyond, since a label of -1 would push them to the opposite side. The gradient
of a negative vanishes where it is orthogonal.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

DATA = ("tuples", "scored")  # not labelled: classes are numbered as they come, so that 1 may be the negative


def orthogonal_projection(queries: Tensor, passages: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over pairs of (cos(q, p) - y)^2.

    With labels of 1 and 0 this is sentence-transformers' CosineSimilarityLoss.

    Args:
        queries: (n, d).
        passages: (n, d), one for each query.
        labels: (n,), 1 for a positive and 0 for a negative.

    Returns:
        A scalar.

    Raises:
        ValueError: a label is neither 0 nor 1, or there is not one for each pair.
    """
    labels = labels.to(queries.dtype).reshape(-1)
    if len(labels) != len(queries):
        raise ValueError(f"{len(labels)} labels for {len(queries)} pairs")
    wrong = labels[(labels != 0) & (labels != 1)]
    if len(wrong):
        raise ValueError(f"a label is {wrong[0].item():g}; 1 says positive, 0 negative")
    return (torch.cosine_similarity(queries, passages) - labels).square().mean()


class OrthogonalProjectionLoss(nn.Module):
    """The loss over a trainer's batches.

    Two columns and labels: query and passage, 1 for a positive and 0 for a negative. Three columns or more, without
    labels: query, positive and negatives; the loss is the mean over all pairs with the query.

    Args:
        model: a sentence-transformers model.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of a batch.

        Raises:
            ValueError: two columns without labels, or more with them.
        """
        # One column at a time: with texts of very different lengths, padding to the longest costs more than it saves.
        vectors = [self.model(features)["sentence_embedding"].float() for features in sentence_features]
        if (len(vectors) == 2) != (labels is not None):
            raise ValueError(
                f"{len(vectors)} columns {'without' if labels is None else 'with'} labels; give query and passage with "
                "labels 1 and 0, or query, positive and negatives without labels"
            )
        query, passages = vectors[0], vectors[1:]
        if labels is None:
            labels = torch.zeros(len(passages), len(query), device=query.device)
            labels[0] = 1
        return orthogonal_projection(query.repeat(len(passages), 1), torch.cat(passages), labels)


def build_loss(model: nn.Module) -> nn.Module:
    """Return the loss over batches of query and passage with labels, or of query, positive and negatives."""
    return OrthogonalProjectionLoss(model)
