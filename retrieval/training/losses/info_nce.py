"""Bidirectional InfoNCE over a batch of (query, passage) pairs, with or without hard negatives.

Jina Embeddings 2 (arXiv 2310.19923), its pair stage and its stage with hard negatives.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from retrieval.training.embedding_loss import EmbeddingLoss, check_temperature, cosine_matrix, stacked_negatives

DATA = ("sentences", "pairs", "tuples")


def info_nce(
    queries: Tensor,
    passages: Tensor,
    negatives: Tensor | None = None,
    *,
    temperature: float = 0.05,
    bidirectional: bool = True,
) -> Tensor:
    """Return the contrastive loss of a batch in which passage i belongs to query i.

    With cosine s, temperature t, B pairs and n hard negatives of each query:

    query → passage: mean_i −log( e^{s(q_i,p_i)/t} / Σ_j ( e^{s(q_i,p_j)/t} + Σ_k e^{s(q_i,n_jk)/t} ) ), so that a query
    sees the passages and hard negatives of the whole batch;
    passage → query: mean_i −log( e^{s(p_i,q_i)/t} / Σ_j e^{s(p_i,q_j)/t} ), so that a passage sees the queries only.

    The loss is the mean of the two directions. (The paper adds them in the second stage: a factor of 2, which keeps the
    optimum.) Without negatives it is symmetric in queries and passages, and 0 for a single pair.

    Args:
        queries: (B, d).
        passages: (B, d).
        negatives: (B, n, d), those of each query; None for none.
        temperature: t.
        bidirectional: False leaves out passage → query.

    Returns:
        A scalar.
    """
    target = torch.arange(len(queries), device=queries.device)
    scores = cosine_matrix(queries, passages) / temperature  # (B, B)
    candidates = scores
    if negatives is not None:
        hard = cosine_matrix(queries, negatives.flatten(0, 1)) / temperature  # (B, B * n)
        candidates = torch.cat([scores, hard], dim=1)  # (B, B + B * n)
    forward = nn.functional.cross_entropy(candidates, target)
    if not bidirectional:
        return forward
    return (forward + nn.functional.cross_entropy(scores.T, target)) / 2


def build_loss(model: nn.Module, *, temperature: float = 0.05, bidirectional: bool = True) -> nn.Module:
    """Return the loss over batches of query, positive and any number of negatives.

    Raises:
        RecipeError: the temperature is not positive.
    """
    check_temperature(temperature)
    return EmbeddingLoss(
        model,
        lambda columns: info_nce(
            columns[0],
            columns[1],
            stacked_negatives(columns),
            temperature=temperature,
            bidirectional=bidirectional,
        ),
    )
