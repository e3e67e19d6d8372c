"""The layers of NeoBERT; their attributes spell the published parameter names."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers.modeling_layers import GradientCheckpointingLayer

from retrieval.models.neobert.configuration import NeoBertConfig
from retrieval.models.neobert.rotary import rotate
from retrieval.models.position_wise import by_positions


class SwiGLU(nn.Module):
    """Gated feed-forward network: `w3(silu(gate) * up)`, where `w12` makes both and its first half is the gate.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: NeoBertConfig) -> None:
        super().__init__()
        self.w12 = nn.Linear(config.hidden_size, 2 * config.inner_size, bias=False)
        self.w3 = nn.Linear(config.inner_size, config.hidden_size, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return (batch, length, hidden_size)."""
        gate, up = self.w12(hidden).chunk(2, dim=-1)  # (batch, length, inner_size) each
        found: Tensor = self.w3(silu(gate) * up)
        return found


class EncoderBlock(GradientCheckpointingLayer):
    """Attention and feed-forward network, RMSNorm before each, residuals around.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: NeoBertConfig) -> None:
        super().__init__()
        self.n_heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.wo = nn.Linear(config.hidden_size, config.hidden_size, bias=False)
        self.ffn = SwiGLU(config)
        self.attention_norm = nn.RMSNorm(config.hidden_size, config.norm_eps)
        self.ffn_norm = nn.RMSNorm(config.hidden_size, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: Tensor, mask: Tensor | None, turns: tuple[Tensor, Tensor]) -> Tensor:
        """Return (batch, length, hidden_size) of (batch, length, hidden_size).

        Args:
            hidden: the states.
            mask: (batch, 1, 1, length) bool, true at keys that may be attended to; None for all.
            turns: cosines and sines, see `rotary.rotations`.
        """
        hidden = hidden + self.dropout(self._attention(self.attention_norm(hidden), mask, turns))
        fed: Tensor = self.dropout(by_positions(self.ffn, self.ffn_norm(hidden)))
        return hidden + fed

    def _attention(self, normed: Tensor, mask: Tensor | None, turns: tuple[Tensor, Tensor]) -> Tensor:
        # The projection's rows are laid out per head: 3 x head_size of head 0, of head 1, … Most networks have all
        # queries first, then all keys, then all values.
        heads = self.qkv(normed).unflatten(-1, (self.n_heads, -1))  # (batch, length, n_heads, 3 * head_size)
        query, key, value = heads.chunk(3, dim=-1)
        query, key = rotate(query, *turns), rotate(key, *turns)
        # torch's fused kernels go over blocks of keys: memory grows with the length, not with its square.
        found = scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2), attn_mask=mask
        )  # (batch, n_heads, length, head_size)
        attended: Tensor = self.wo(found.transpose(1, 2).flatten(-2))
        return attended
