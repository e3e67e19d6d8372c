"""Masked language modelling of whole words, 30 % of the tokens: pre-training, or going on with it on one's own texts.

Jina Embeddings 2 (arXiv 2310.19923) pre-trained an ALiBi BERT like this on texts of 512 tokens, for `pairs` and then
`hard-negatives`: `--set model=alibi-bert`, which takes over a BERT's weights, and with
`--set model_settings.random_weights=true` begins from nothing. The paper's learning rates (6e-4 for the base size, with
batches of thousands of texts) are for that.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="masked-language",
    summary="masked language modelling of whole words (pre-training), from texts without labels",
    data="sentences",
    model_settings={"backbone": "embedded"},
    loss="masked-language",
    loss_settings={"rate": 0.3, "whole_words": True},
    max_tokens=128,
    batch_size=32,
    learning_rate=1e-4,
)
