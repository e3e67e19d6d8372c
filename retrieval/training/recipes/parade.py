"""PARADE (arXiv 2008.09093): a cross-encoder on documents, whose passages' states an aggregator puts together.

Passages, aggregator and inputs are those of the published code: 150 words of which 50 are shared, 8 passages of 128
tokens, a transformer of two layers over their [CLS] states. Loss and rate are monoBERT's here; a backbone that has
learnt to rank passages (`model_settings.backbone = "mono folder"`) is the better start, as in the paper.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="parade",
    summary="cross-encoder on long documents, passage by passage (PARADE)",
    data="tuples",
    negatives=1,
    model="parade",
    model_settings={"backbone": "embedded"},
    loss="pointwise-cross-entropy",
    batch_size=4,
    accumulation=4,
    learning_rate=2e-5,
)
