"""The heads that BERT's descendants share: pooler and masked-language-model head, under their published names."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN


class HeadSettings(Protocol):
    """What the heads read of a model's settings."""

    vocab_size: int
    hidden_size: int
    hidden_act: str
    layer_norm_eps: float


class Pooler(nn.Module):
    """Linear layer and tanh over one vector of each text.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: HeadSettings) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, first: Tensor) -> Tensor:
        """Return (batch, hidden_size) of the state of each text's first token, (batch, hidden_size)."""
        return torch.tanh(self.dense(first))


class PredictionTransform(nn.Module):
    """Linear layer, activation, LayerNorm.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: HeadSettings) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.hidden_act]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        found: Tensor = self.LayerNorm(self.activation(self.dense(hidden)))
        return found


class Predictions(nn.Module):
    """Scores of all words; the weights are those of the word embeddings, the bias its own.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: HeadSettings) -> None:
        super().__init__()
        self.transform = PredictionTransform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (…, vocab_size) of (…, hidden_size)."""
        scores: Tensor = self.decoder(self.transform(hidden))
        return scores


class MaskedLanguageHead(nn.Module):
    """Masked-language-model head; its parameters are called `predictions.…`.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: HeadSettings) -> None:
        super().__init__()
        self.predictions = Predictions(config)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (…, vocab_size) of (…, hidden_size)."""
        scores: Tensor = self.predictions(hidden)
        return scores


def first_tokens(hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Return the state of each text's first token, (batch, hidden_size), on whichever side the padding stands.

    Args:
        hidden: (batch, length, hidden_size).
        attention_mask: (batch, length), not zero at tokens; None where all are tokens.
    """
    if attention_mask is None:
        return hidden[:, 0]
    first = attention_mask.bool().int().argmax(dim=1)  # (batch,)
    return hidden[torch.arange(len(hidden), device=hidden.device), first]
