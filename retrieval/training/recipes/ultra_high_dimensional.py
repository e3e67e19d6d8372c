"""An ultra-high-dimensional sparse encoder over pairs with in-batch negatives: UHD-BERT (arXiv 2104.07198)."""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="ultra-high-dimensional",
    summary="sparse encoder with winner-take-all buckets, for the inverted index, on (query, passage) pairs",
    data="pairs",
    model="ultra-high-dimensional",
    model_settings={"backbone": "embedded", "dimensions": [8192], "k": 32},
    loss="winner-take-all",
    loss_settings={"temperature": 1.0, "binary": 0.5, "first_k": 128},
    max_tokens=128,
    batch_size=32,
    learning_rate=1e-4,
)
