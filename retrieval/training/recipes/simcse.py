"""Unsupervised SimCSE (arXiv 2104.08821): raw sentences, twice each, dropout makes the difference.

The paper's settings for BERT-base: batch 64, learning rate 3e-5, temperature 0.05, 32 tokens, [CLS], one epoch of a
million sentences. DistilFace is this recipe on a DistilBERT backbone. The training-only MLP over [CLS] is left out.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="simcse",
    summary="self-supervised sentence encoder: a sentence and itself under other dropout (SimCSE)",
    data="sentences",
    loss="info-nce",
    loss_settings={"temperature": 0.05, "bidirectional": False},
    model_settings={"backbone": "embedded", "pooling": "cls"},
    max_tokens=32,
    batch_size=64,
    learning_rate=3e-5,
    warmup=0.0,
)
