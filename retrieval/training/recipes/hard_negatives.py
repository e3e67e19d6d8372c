"""InfoNCE over tuples with hard negatives: Jina Embeddings 2, second stage (arXiv 2310.19923; 15 negatives there)."""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="hard-negatives",
    summary="bi-encoder on queries with passages and hard negatives (InfoNCE)",
    data="tuples",
    negatives=1,
    loss="info-nce",
    loss_settings={"temperature": 0.05},
    model_settings={"backbone": "embedded"},
    max_tokens=128,
    batch_size=16,
)
