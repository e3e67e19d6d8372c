"""The layers of the Monarch Mixer encoder; their attributes spell the released parameter names."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_layers import GradientCheckpointingLayer

from retrieval.models.monarch_mixer.configuration import MonarchMixerConfig
from retrieval.models.monarch_mixer.implicit_filter import HyenaFilter
from retrieval.models.monarch_mixer.monarch_matrix import BlockDiagonalLinear
from retrieval.models.position_wise import by_positions


class Embeddings(nn.Module):
    """Words, positions and token types, normalised.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: MonarchMixerConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None,
        token_type_ids: Tensor | None,
        inputs_embeds: Tensor | None,
        mask: Tensor | None,
    ) -> Tensor:
        """Return (batch, length, hidden_size).

        Args:
            input_ids: (batch, length) int64.
            token_type_ids: (batch, length) int64; 0 where none are given.
            inputs_embeds: (batch, length, hidden_size) instead of `input_ids`.
            mask: (batch, length) bool, true at tokens: a text's first token has position 0, whatever stands before it.
        """
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:
            token_type_ids = torch.zeros(words.shape[:2], dtype=torch.int64, device=words.device)
        positions = torch.arange(words.shape[1], device=words.device)
        if mask is not None:
            positions = (mask.cumsum(dim=1) - 1).clamp(min=0)  # (batch, length)
        hidden = words + self.token_type_embeddings(token_type_ids) + self.position_embeddings(positions)
        return self.dropout(self.LayerNorm(hidden))


class ShortFilter(nn.Module):
    """Causal convolution with three taps for each channel; its parameters are those of a grouped `torch.nn.Conv1d`.

    As shifted sums it takes a third of that one's time on a processor, and needs no transposing.

    Args:
        channels: of the input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        # As torch.nn.Conv1d starts, with three numbers for each output.
        self.weight = nn.Parameter(torch.empty(channels, 1, 3).uniform_(-self.bound, self.bound))
        self.bias = nn.Parameter(torch.empty(channels).uniform_(-self.bound, self.bound))

    bound = 3**-0.5
    """Initial weights are uniform between plus and minus this."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, length, channels) of the same shape: what stood two and one before, and here."""
        length = x.shape[1]
        taps = self.weight[:, 0].T  # (3, channels)
        padded = functional.pad(x, (0, 0, 2, 0))
        return padded[:, :length] * taps[0] + padded[:, 1 : length + 1] * taps[1] + x * taps[2] + self.bias


class SequenceMixer(nn.Module):
    """Mixes positions: a gated long convolution, and one of the raw input beside it; no residual, no norm.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: MonarchMixerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.in_linear = nn.Linear(width, 3 * width)
        self.short_filter = ShortFilter(3 * width)
        self.filter_fn = HyenaFilter(config)
        self.filter_fn2 = HyenaFilter(config) if config.residual_long_conv else None
        self.out_linear = nn.Linear(width, width)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Return (batch, length, hidden_size) of the same shape.

        Args:
            hidden: (batch, length, hidden_size).
            mask: (batch, length, 1) in the type of `hidden`, 0 at padding; None where padding is read like words.
        """
        first, second, value = self.short_filter(_masked(self.in_linear(hidden), mask)).chunk(3, dim=-1)
        # The short filter leaves something behind a text's end, and its bias everywhere.
        mixed = self.filter_fn(_masked(value * first, mask).transpose(1, 2)).transpose(1, 2) * second
        if self.filter_fn2 is not None:
            mixed = mixed + self.filter_fn2(_masked(hidden, mask).transpose(1, 2)).transpose(1, 2)
        found: Tensor = self.out_linear(mixed)
        return found


class GatedFeedForward(nn.Module):
    """Mixes channels: two block-diagonal matrices, the first half of the first one's output activated; residual, norm.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: MonarchMixerConfig) -> None:
        super().__init__()
        blocks, width, inner = config.monarch_mlp_nblocks, config.hidden_size, config.intermediate_size
        self.gated_layers = BlockDiagonalLinear(width, 2 * inner, blocks, bias=False)
        self.wo = BlockDiagonalLinear(inner, width, blocks)
        self.layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (batch, length, hidden_size) of the same shape."""
        gate, up = self.gated_layers(hidden).chunk(2, dim=-1)  # (batch, length, intermediate_size) each
        found: Tensor = self.layernorm(self.wo(self.dropout(functional.gelu(gate) * up)) + hidden)
        return found


class MonarchMixerLayer(GradientCheckpointingLayer):
    """Sequence mixer and feed-forward network.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: MonarchMixerConfig) -> None:
        super().__init__()
        self.attention = SequenceMixer(config)  # so called in the released checkpoints; there is no attention
        self.mlp = GatedFeedForward(config)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Return (batch, length, hidden_size) of the same shape; the mask is `SequenceMixer.forward`'s."""
        return by_positions(self.mlp, self.attention(hidden, mask))


def _masked(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask
