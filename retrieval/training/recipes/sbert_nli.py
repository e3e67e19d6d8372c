"""Sentence-BERT's classification objective on natural language inference (arXiv 1908.10084).

The paper: one epoch, batch 16, learning rate 2e-5, warm-up over 10 % of the steps, mean pooling.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="sbert-nli",
    summary="siamese encoder, softmax over [u; v; |u - v|] on sentence pairs with classes (Sentence-BERT)",
    data="labelled",
    loss="softmax-classification",
    model_settings={"backbone": "embedded", "pooling": "mean"},
    max_tokens=128,
    batch_size=16,
)
