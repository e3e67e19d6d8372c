"""Margin-MSE into a smaller cross-encoder: BERT_CAT of Hofstätter et al. (arXiv 2010.02666), section 3.

It reads what the study's library reads, 30 tokens of a query and 200 of a passage, at the library's learning rate.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="margin-mse-cat",
    summary="cross-encoder that learns a larger one's margins between passages (Margin-MSE)",
    data="scored_tuples",
    negatives=1,
    loss="margin-mse",
    model="mono",
    model_settings={"backbone": "embedded", "query_tokens": 32, "max_tokens": 233},
    batch_size=32,
    learning_rate=7e-6,
    schedule="constant",
    warmup=0.0,
    weight_decay=0.0,
)
