"""A long-context encoder out of a BERT encoder: ALiBi in place of positions, adapted on short texts without labels.

The network takes over the BERT's weights, and learns to give its vectors and states again; texts are short in training,
and the trained encoder reads 8192 tokens ("train short, test long", arXiv 2108.12409). It can go on with the recipes
`pairs` and `hard-negatives`, as Jina Embeddings 2 did (arXiv 2310.19923): `--set model_settings.backbone=FOLDER`.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="alibi-distillation",
    summary="long-context encoder (ALiBi) that takes over a BERT encoder, from texts without labels",
    data="sentences",
    model="alibi-bert",
    model_settings={"backbone": "embedded"},
    loss="distillation",
    loss_settings={"teacher": "embedded"},
    max_tokens=128,
    encoder_tokens=8192,
    batch_size=32,
    learning_rate=3e-4,
    dropout=0.0,
)
