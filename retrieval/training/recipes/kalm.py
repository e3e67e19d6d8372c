"""KaLM-Embedding's fine-tuning (arXiv 2501.01028): instructed queries, filtered pairs, mined negatives, Matryoshka.

The paper trains Qwen2-0.5B with mean pooling and dimensions 896, 512, 256, 128, 64 of weights 1, 0.3, 0.2, 0.1, 0.1;
temperature 0.01, seven negatives of ranks 50 to 100, learning rate 1e-5, warm-up 10 %, one epoch, 512 tokens. Here the
backbone is the packaged one with 384 dimensions, and texts have 128 tokens; change `max_tokens` and the settings of
model and loss for others.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe

RECIPE = Recipe(
    name="kalm",
    summary="instructed bi-encoder with filtered pairs, mined negatives and Matryoshka dimensions (KaLM-Embedding)",
    data="tuples",
    negatives=7,
    reference="embedded",
    filter_rank=50,
    mine_window=(50, 100),
    instruction="Given a query, retrieve documents that answer the query.",
    loss="matryoshka",
    loss_settings={
        "dimensions": [384, 256, 128, 64],
        "weights": [1.0, 0.3, 0.2, 0.1],
        "temperature": 0.01,
        "group": True,
    },
    model_settings={"backbone": "embedded", "pooling": "mean"},
    max_tokens=128,
    batch_size=16,
    learning_rate=1e-5,
)
