"""An ultra-high-dimensional sparse encoder over pairs with in-batch negatives: UHD-BERT (arXiv 2104.07198).

One bucket on the last layer, few winners from the first step on, and buckets that learn 50 times as fast as the
backbone: `eval/experiments/studies/ultra_high_dimensional.py` measures it, beside other numbers of dimensions, winners
and buckets.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="ultra-high-dimensional",
    summary="sparse encoder with winner-take-all buckets, for the inverted index, on (query, passage) pairs",
    data="pairs",
    model="ultra-high-dimensional",
    model_settings={"backbone": "embedded", "dimensions": [8192], "k": 32},
    loss="winner-take-all",
    loss_settings={"temperature": 2.0, "binary": 0.5, "binary_temperature": 10.0, "bucket_rate": 50.0},
    max_tokens=128,
    batch_size=32,
    learning_rate=2e-5,
)
