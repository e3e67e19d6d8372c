"""duoBERT (arXiv 1910.14424, section 3.3): a pairwise cross-encoder on queries with two passages, in both orders.

The released code trains BERT-large as it trains monoBERT (see the recipe `mono`): 3e-6, 128 inputs a batch, 100,000
steps, of them 10 % warm-up; a query has 62 pieces and each document 223. Lengths, head, loss and schedule are those
here; learning rate, batch and length of training are those of `mono`: 2e-5 and 16 triples, which make 32 inputs. The
paper starts from an encoder that was pre-trained on the collection. Another start is a trained pointwise reranker:
`--set model_settings.backbone=FOLDER`.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="duo",
    summary="pairwise cross-encoder on queries with two passages, in both orders (duoBERT)",
    data="tuples",
    negatives=1,
    model="duo",
    model_settings={"backbone": "embedded"},
    loss="pairwise-cross-entropy",
    batch_size=16,
    learning_rate=2e-5,
)
