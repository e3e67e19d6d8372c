"""A learnt weighted sum of every layer's [CLS], as the siamese web ranker of Seznam pools."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from retrieval.errors import EncoderError
from retrieval.models.bert_heads import first_tokens
from retrieval.models.pooling.base import StatesModule
from retrieval.models.pooling.states import all_layers, padded, token_mask


class WeightedCls(StatesModule):
    """Writes `sentence_embedding` (batch, H): e = sum_l w_l [CLS]_l + b, over the embeddings and all layers.

    Kocián et al., "Siamese BERT-based Model for Web Search Relevance Ranking Evaluated on a New Czech Dataset" (arXiv
    2112.01810): a convolution of kernel 1 with the layers as its channels, hence one weight for each and one bias for
    all components. A new one is the last layer's [CLS], so that training begins from what the backbone has learnt.

    Args:
        hidden_size: length of the states, H.
        n_states: states that are summed, one more than the transformer has layers; 13 in the paper.

    Raises:
        EncoderError: a number is not positive.
    """

    config_keys = ["hidden_size", "n_states"]  # noqa: RUF012 - as the base class
    reads_layers = True

    def __init__(self, hidden_size: int, n_states: int) -> None:
        super().__init__()
        if hidden_size < 1 or n_states < 1:
            raise EncoderError(f"hidden_size and n_states must be positive, not {hidden_size} and {n_states}")
        self.hidden_size = hidden_size
        self.n_states = n_states
        self.mixing = nn.Conv1d(n_states, 1, kernel_size=1)
        nn.init.zeros_(self.mixing.weight)
        nn.init.zeros_(self.mixing.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.mixing.weight[0, -1] = 1.0

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Add `sentence_embedding`, (batch, H), to the features.

        Raises:
            EncoderError: the transformer's layers are missing or of another number.
        """
        mask = token_mask(features)
        layers = all_layers(features, self.n_states)
        firsts = torch.stack([first_tokens(padded(features, states, mask), mask) for states in layers], dim=1)
        features["sentence_embedding"] = self.mixing(firsts)[:, 0]  # (batch, n_states, H) to (batch, H)
        return features

    def get_embedding_dimension(self) -> int:
        """Return H."""
        return self.hidden_size
