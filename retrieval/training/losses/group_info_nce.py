"""InfoNCE over groups of one positive and its hard negatives, with optional further negatives of the same side.

KaLM-Embedding (arXiv 2501.01028; HITsz-TMG/KaLM-Embedding, train/losses.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from retrieval.training.embedding_loss import EmbeddingLoss, check_temperature, cosine_matrix

DATA = ("sentences", "pairs", "tuples")


def group_info_nce(
    queries: Tensor, passages: Tensor, *, temperature: float = 0.01, expanded_negatives: bool = False
) -> Tensor:
    """Return the mean over queries of −log softmax of the own positive among all passages of the batch.

    Passages stand in groups of G: the positive of query i is passage i·G, its hard negatives follow. Scores are
    cosine / temperature. There is no direction from passages to queries.

    Args:
        queries: (B, d).
        passages: (B · G, d).
        temperature: of the softmax.
        expanded_negatives: compare each query with the other queries, too, and its positive with the other positives:
            both rows of similarities join the negatives, without their diagonals.

    Returns:
        A scalar.
    """
    n = len(queries)
    group = len(passages) // n
    target = torch.arange(n, device=queries.device) * group
    scores = cosine_matrix(queries, passages) / temperature  # (B, B * G)
    if expanded_negatives:
        itself = torch.eye(n, dtype=torch.bool, device=queries.device)
        positives = passages[target]  # (B, d)
        same_side = [cosine_matrix(vectors, vectors) / temperature for vectors in (queries, positives)]
        scores = torch.cat([scores, *(rows.masked_fill(itself, -torch.inf) for rows in same_side)], dim=1)
    return nn.functional.cross_entropy(scores, target)


def grouped(columns: list[Tensor]) -> Tensor:
    """Return positives and negatives, one (B, d) column each, as groups, (B · G, d)."""
    return torch.stack(columns, dim=1).flatten(0, 1)


def build_loss(model: nn.Module, *, temperature: float = 0.01, expanded_negatives: bool = False) -> nn.Module:
    """Return the loss over batches of query, positive and any number of negatives.

    Raises:
        RecipeError: the temperature is not positive.
    """
    check_temperature(temperature)
    return EmbeddingLoss(
        model,
        lambda columns: group_info_nce(
            columns[0], grouped(columns[1:]), temperature=temperature, expanded_negatives=expanded_negatives
        ),
    )
