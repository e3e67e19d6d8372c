"""Margin-MSE into PreTTR, as in Hofstätter et al. (arXiv 2010.02666): passages pass through the lower layers ahead."""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="margin-mse-prettr",
    summary="cross-encoder whose lower layers read passages ahead, from a teacher's margins (Margin-MSE, PreTTR)",
    data="scored_tuples",
    negatives=1,
    loss="margin-mse",
    model="prettr",
    model_settings={"backbone": "embedded"},
    batch_size=32,
    learning_rate=7e-6,
    schedule="constant",
    warmup=0.0,
    weight_decay=0.0,
)
