"""A learnt mixture of all layers, before the usual pooling: ELMo's, which BERMo puts on BERT."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from retrieval.errors import EncoderError
from retrieval.models.pooling.base import StatesModule
from retrieval.models.pooling.states import all_layers


class ScalarMix(StatesModule):
    """Replaces `token_embeddings` by h = gamma * sum_l softmax(s)_l h_l over the embeddings and all layers.

    Peters et al., "Deep contextualized word representations" (arXiv 1802.05365), equation 1; BERMo (arXiv 2110.15802)
    trains it on BERT. A new one is the mean of all layers.

    Args:
        n_states: states that are mixed, one more than the transformer has layers.

    Attributes:
        scores: s, (n_states,).
        gamma: scale, ().

    Raises:
        EncoderError: `n_states` is not positive.
    """

    config_keys = ["n_states"]  # noqa: RUF012 - as the base class
    reads_layers = True

    def __init__(self, n_states: int) -> None:
        super().__init__()
        if n_states < 1:
            raise EncoderError(f"n_states must be positive, not {n_states}")
        self.n_states = n_states
        self.scores = nn.Parameter(torch.zeros(n_states))
        self.gamma = nn.Parameter(torch.ones(()))

    def forward(self, features: dict[str, Any]) -> dict[str, Any]:
        """Replace the states of the features by the mixture.

        Raises:
            EncoderError: the transformer's layers are missing or of another number.
        """
        weights = torch.softmax(self.scores, dim=0)
        layers = zip(weights, all_layers(features, self.n_states), strict=True)
        mixed: Tensor = sum(weight * states for weight, states in layers)
        features["token_embeddings"] = self.gamma * mixed  # (batch, T, H)
        features.pop("cls_token_embeddings", None)  # pooling would take it in place of the mixed first state
        return features
