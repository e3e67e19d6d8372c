"""Margin-MSE into ColBERT, in the form of Hofstätter et al. (arXiv 2010.02666): late interaction without unit vectors.

A student must reach the scale of its teacher's margins. Sums of cosines, ColBERT's original form, reach only what
`teacher_scale` in `loss_settings` makes small enough for them.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="margin-mse-colbert",
    summary="late interaction that learns a teacher's margins between passages (Margin-MSE, ColBERT)",
    data="scored_tuples",
    negatives=1,
    loss="margin-mse",
    model="colbert",
    model_settings={"backbone": "embedded"},
    batch_size=32,
    learning_rate=7e-6,
    schedule="constant",
    warmup=0.0,
    weight_decay=0.0,
)
