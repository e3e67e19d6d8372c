"""Bidirectional InfoNCE over pairs with in-batch negatives: Jina Embeddings 2, first stage (arXiv 2310.19923)."""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="pairs",
    summary="bi-encoder on (query, passage) pairs, in-batch negatives in both directions (InfoNCE)",
    data="pairs",
    loss="info-nce",
    loss_settings={"temperature": 0.05},
    model_settings={"backbone": "embedded"},
    max_tokens=128,
    batch_size=32,
)
