"""Sentence-BERT's regression objective on scored sentence pairs (arXiv 1908.10084).

The paper on STS-B: four epochs, batch 16, learning rate 2e-5, warm-up over 10 % of the steps, mean pooling; the gold
scores 0 to 5 become 0 to 1.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="sbert-sts",
    summary="siamese encoder, squared error of the cosine on sentence pairs with scores (Sentence-BERT)",
    data="scored",
    score_range=(0.0, 5.0),
    loss="cosine-regression",
    model_settings={"backbone": "embedded", "pooling": "mean"},
    max_tokens=128,
    epochs=4,
    batch_size=16,
)
