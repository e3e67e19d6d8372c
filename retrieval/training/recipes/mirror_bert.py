"""Mirror-BERT (arXiv 2104.08027): raw sentences, two views of each by span masking and dropout, a few minutes.

The paper trains on 10,000 sentences for one epoch with a batch of 200, a learning rate of 2e-5, 50 tokens and a
temperature of 0.04. Its drophead variant replaces dropout: `dropout = 0.0` with `drophead = 0.2` (0.05 for RoBERTa).
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="mirror-bert",
    summary="self-supervised sentence encoder: a sentence and its masked copy (Mirror-BERT)",
    data="sentences",
    limit=10_000,
    loss="mirror",
    loss_settings={"temperature": 0.04, "positive_in_denominator": True},
    model_settings={"backbone": "embedded", "pooling": "cls"},
    max_tokens=50,
    batch_size=200,
    learning_rate=2e-5,
    schedule="constant",
    warmup=0.0,
    span_characters=5,
)
