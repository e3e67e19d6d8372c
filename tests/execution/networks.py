"""Tiny random networks of transformers that packed execution knows, with biases and norms that are not 0 and 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from retrieval.execution.runtime import TokenBatch

FAMILIES = ("Bert", "Camembert", "Electra", "Roberta", "XLMRoberta", "DistilBert", "MPNet")
VOCABULARY = 60
PAD_IDS = {"Camembert": 1, "Roberta": 1, "XLMRoberta": 1, "MPNet": 1}
LONGEST = 40
"""Tokens of the longest text."""

_SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": LONGEST + 2,
}


def build(family: str, suffix: str = "Model", **settings: Any) -> Any:
    """Return a network in evaluation mode."""
    import torch
    import transformers

    sizes: dict[str, Any] = dict(_SIZES)
    if family == "DistilBert":
        sizes = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": LONGEST}
    if family == "Electra":
        sizes["embedding_size"] = 16
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=VOCABULARY, pad_token_id=PAD_IDS.get(family, 0), initializer_range=0.3, **{**sizes, **settings}
    )
    network = getattr(transformers, f"{family}{suffix}")(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def batch_of(lengths: list[int], seed: int = 0, *, segments: bool = False) -> TokenBatch:
    """Return random texts of these lengths; some hold the token that pads."""
    random = np.random.default_rng(seed)
    ids = random.integers(0, VOCABULARY, sum(lengths))
    return TokenBatch(
        ids.astype(np.int64),
        np.array(lengths, np.int64),
        random.integers(0, 2, sum(lengths)).astype(np.int64) if segments else None,
    )
