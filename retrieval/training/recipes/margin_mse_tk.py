"""Margin-MSE into TK, as in Hofstätter et al. (arXiv 2010.02666): two small layers, and kernels over cosines.

The study's library trains the network at 1e-5 and its kernels at 1e-4, on 40 million triples; here all of it learns at
the higher rate.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="margin-mse-tk",
    summary="small transformer with kernels that learns a teacher's margins between passages (Margin-MSE, TK)",
    data="scored_tuples",
    negatives=1,
    loss="margin-mse",
    model="tk",
    model_settings={"backbone": "embedded"},
    batch_size=32,
    learning_rate=1e-4,
    schedule="constant",
    warmup=0.0,
    weight_decay=0.0,
)
