"""DeeBERT's second stage (arXiv 2004.12993): off-ramps learn what a trained cross-encoder, which is frozen, says.

Set `backbone` in `model_settings` to the folder of a reranker that the recipe `mono` has trained, or of any other of
BERT's kind. The published off-ramps learn labels; here they learn the whole model's probabilities by default, which
leaves fewer ways to disagree with it and takes any queries and passages. Only heads learn, so the rate is high.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="early-exit",
    summary="off-ramps after the layers of a trained cross-encoder (DeeBERT)",
    data="tuples",
    negatives=1,
    model="early-exit",
    loss="off-ramps",
    batch_size=16,
    learning_rate=5e-4,
)
