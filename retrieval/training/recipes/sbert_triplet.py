"""Sentence-BERT's triplet objective: Euclidean distance, margin 1 (arXiv 1908.10084)."""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="sbert-triplet",
    summary="siamese encoder, Euclidean margin between positive and negative (Sentence-BERT)",
    data="tuples",
    negatives=1,
    loss="euclidean-triplet",
    model_settings={"backbone": "embedded", "pooling": "mean"},
    max_tokens=128,
    batch_size=16,
)
