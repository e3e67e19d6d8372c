"""monoBERT (arXiv 1910.14424, section 3.2): a pointwise cross-encoder on queries, positives and negatives.

The released code trains BERT-large on triples, 64 of them (128 inputs) a batch, for 100,000 steps with a learning rate
of 3e-6, warm-up over 10 % of them and linear decay; a query has 64 tokens and an input 512. Lengths, loss and schedule
are those here. The packaged MiniLM is a fifteenth of that size: it takes a learning rate usual for small encoders,
2e-5, in batches of 16 triples that fit an ordinary machine, for one pass over the examples. The published head has two
logits, of which only the difference counts; here it has one (`labels = 2` in `model_settings` is as published).
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="mono",
    summary="pointwise cross-encoder on queries with passages and negatives (monoBERT)",
    data="tuples",
    negatives=1,
    model="mono",
    model_settings={"backbone": "embedded"},
    loss="pointwise-cross-entropy",
    batch_size=16,
    learning_rate=2e-5,
)
