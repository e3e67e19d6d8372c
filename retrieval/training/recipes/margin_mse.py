"""Margin-MSE into a bi-encoder: BERT_DOT of Hofstätter et al. (arXiv 2010.02666), with their library's settings.

Vectors are those of the first token, of any length: a student must reach the scale of its teacher's margins.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="margin-mse",
    summary="bi-encoder that learns a teacher's margins between passages (Margin-MSE)",
    data="scored_tuples",
    negatives=1,
    loss="margin-mse",
    model_settings={"backbone": "embedded", "pooling": "cls"},
    max_tokens=200,
    batch_size=32,
    learning_rate=7e-6,
    schedule="constant",
    warmup=0.0,
    weight_decay=0.0,
)
