"""The layers of the ALiBi encoder in both published layouts; their attributes spell the published parameter names."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.modeling_layers import GradientCheckpointingLayer

from retrieval.models.alibi_bert.attention import AlibiAttention
from retrieval.models.alibi_bert.configuration import AlibiBertConfig
from retrieval.models.position_wise import by_positions

_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"geglu": functional.gelu, "reglu": functional.relu}


class Embeddings(nn.Module):
    """Words and token types, normalised; no positions.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, input_ids: Tensor | None, token_type_ids: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        """Return (batch, length, hidden_size); token types are 0 where none are given."""
        words = self.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is None:
            token_type_ids = torch.zeros(words.shape[:2], dtype=torch.int64, device=words.device)
        hidden: Tensor = self.LayerNorm(words + self.token_type_embeddings(token_type_ids))
        return self.dropout(hidden)


class SelfAttention(nn.Module):
    """Projections to queries, keys and values, and attention over all heads.

    Args:
        config: the model's settings; its family decides whether queries and keys are normalised over all heads.
    """

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.n_heads = config.num_attention_heads
        self.dropout_probability = float(config.attention_probs_dropout_prob)
        self.query = nn.Linear(size, size)
        self.key = nn.Linear(size, size)
        self.value = nn.Linear(size, size)
        self.normalises = config.family == "jina-bert-v2-qk-post-norm"
        if self.normalises:
            self.layer_norm_q = nn.LayerNorm(size, eps=config.layer_norm_eps)
            self.layer_norm_k = nn.LayerNorm(size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, attention: AlibiAttention) -> Tensor:
        """Return (batch, length, hidden_size) of (batch, length, hidden_size)."""
        query, key = self.query(hidden), self.key(hidden)
        if self.normalises:
            query, key = self.layer_norm_q(query), self.layer_norm_k(key)
        dropout = self.dropout_probability if self.training else 0.0
        found = attention(self._heads(query), self._heads(key), self._heads(self.value(hidden)), dropout)
        return found.transpose(1, 2).reshape(hidden.shape)

    def _heads(self, tensor: Tensor) -> Tensor:
        batch, length, _ = tensor.shape
        return tensor.view(batch, length, self.n_heads, -1).transpose(1, 2)  # (batch, n_heads, length, head_size)


class AttentionOutput(nn.Module):
    """Linear layer, residual, LayerNorm.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, found: Tensor, residual: Tensor) -> Tensor:
        """Return (batch, length, hidden_size)."""
        hidden: Tensor = self.LayerNorm(self.dropout(self.dense(found)) + residual)
        return hidden


class Attention(nn.Module):
    """Self-attention and its output layer.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = AttentionOutput(config)

    def forward(self, hidden: Tensor, attention: AlibiAttention) -> Tensor:
        """Return (batch, length, hidden_size)."""
        found: Tensor = self.output(self.self(hidden, attention), hidden)
        return found


class GatedFeedForward(nn.Module):
    """Feed-forward network of "jina-bert-v2": the first half of the projection is activated, then residual and norm.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS[config.feed_forward_type]
        self.gated_layers = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.wo = nn.Linear(config.intermediate_size, config.hidden_size)
        self.layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (batch, length, hidden_size)."""
        gate, up = self.gated_layers(hidden).chunk(2, dim=-1)  # (batch, length, intermediate_size) each
        found: Tensor = self.layernorm(self.wo(self.dropout(self.activation(gate) * up)) + hidden)
        return found


class UpGatedFeedForward(nn.Module):
    """Feed-forward network of "jina-bert-v2-qk-post-norm": the second half of the projection is activated.

    Residual and norm are the layer's.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.activation = _ACTIVATIONS[config.feed_forward_type]
        self.up_gated_layer = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_layer = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (batch, length, hidden_size)."""
        up, gate = self.up_gated_layer(hidden).chunk(2, dim=-1)  # (batch, length, intermediate_size) each
        found: Tensor = self.down_layer(self.dropout(up * self.activation(gate)))
        return found


class AlibiBertLayer(GradientCheckpointingLayer):
    """Attention and feed-forward network, LayerNorm after each.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: AlibiBertConfig) -> None:
        super().__init__()
        self.normalises_twice = config.family == "jina-bert-v2-qk-post-norm"
        self.attention = Attention(config)
        self.mlp = UpGatedFeedForward(config) if self.normalises_twice else GatedFeedForward(config)
        if self.normalises_twice:
            self.layer_norm_1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
            self.layer_norm_2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, attention: AlibiAttention) -> Tensor:
        """Return (batch, length, hidden_size) of (batch, length, hidden_size)."""
        found: Tensor = self.attention(hidden, attention)
        if not self.normalises_twice:
            return by_positions(self.mlp, found)
        # The published network adds the residual here a second time.
        found = self.layer_norm_1(hidden + found)
        return self.layer_norm_2(found + by_positions(self.mlp, found))
