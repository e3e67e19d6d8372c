"""Softmax attention with an ALiBi bias and padding, in memory that grows with the length and not with its square.

Three ways that give the same numbers up to rounding:

- dense: all biases at once, (batch, heads, length, length). Shortest for short inputs with padding.
- streamed: the bias is a view of one vector for each head (`reversed_alibi_bias`), and torch's fused kernel for
  processors streams over blocks of keys with a running maximum and denominator, forwards and backwards. It takes no
  padding: each text is computed over its own tokens alone. No dropout.
- blockwise: a block of queries at a time, its biases made on the way; in training the block is computed again for the
  gradient (checkpointing). Works on any device, with any mask and with dropout. On a processor, in training, glibc can
  leave the freed blocks in fragments; `MALLOC_MMAP_THRESHOLD_=1048576` in the environment gives them back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from retrieval.models.alibi_bert.alibi import alibi_bias, reversed_alibi_bias

AttentionMode = Literal["auto", "dense", "streamed", "blockwise"]

DENSE_ELEMENTS = 1 << 23
"""Biases (batch x heads x length x length) up to which "auto" holds all of them: 32 MiB in float32."""

BLOCK_ELEMENTS = 1 << 20
"""Biases of one block of queries: 4 MiB in float32; larger ones are no faster."""


@dataclass(frozen=True)
class AlibiAttention:
    """How the layers of one forward pass attend; made once, used by each.

    Attributes:
        slopes: (n_heads,), at least float32: a bias in fewer bits would put distances of some hundred together.
        dtype: of the biases that attention is given: on a processor that of the slopes, elsewhere that of the queries.
        mask: (batch, length) bool, true at tokens; None where there is no padding.
        spans: for streamed attention with padding, start and end of each text's tokens.
        bias: for dense attention, (batch or 1, n_heads, length, length); for streamed attention without padding, the
            view (n_heads, length, length).
        mode: which of the three ways.
    """

    slopes: Tensor
    dtype: torch.dtype
    mask: Tensor | None
    spans: tuple[tuple[int, int], ...] | None
    bias: Tensor | None
    mode: AttentionMode

    @classmethod
    def prepare(
        cls,
        slopes: Tensor,
        mask: Tensor | None,
        shape: tuple[int, int],
        *,
        dtype: torch.dtype,
        mode: AttentionMode = "auto",
        dropout: float = 0.0,
    ) -> AlibiAttention:
        """Choose how to attend and make what all layers share.

        Args:
            slopes: (n_heads,), on the device of the queries.
            mask: (batch, length), not zero at tokens; None where all are tokens.
            shape: batch and length.
            dtype: of the queries.
            mode: "auto" chooses. "streamed" falls back to blockwise where it cannot work: on another device than a
                processor, with dropout, or where a text's tokens do not stand together.
            dropout: of the attention probabilities; 0 where there is none.
        """
        mask = None if mask is None else mask.bool()
        on_processor = slopes.device.type == "cpu"
        slopes = slopes.to(torch.promote_types(dtype, torch.float32))
        bias_dtype = slopes.dtype if on_processor else dtype
        if mask is not None and on_processor and bool(mask.all()):
            mask = None
        elements = shape[0] * len(slopes) * shape[1] ** 2
        if mode == "auto":
            small = elements <= DENSE_ELEMENTS
            mode = "dense" if small and (mask is not None or not on_processor) else "streamed"
        spans = None
        if mode == "streamed":
            spans = _spans(mask) if mask is not None else None
            if not on_processor or dropout or (mask is not None and spans is None):
                mode, spans = "blockwise", None
        bias = None
        if mode == "dense":
            positions = torch.arange(shape[1], device=slopes.device)
            bias = _masked(alibi_bias(slopes, positions, positions)[None].to(bias_dtype), mask)
        elif mode == "streamed" and mask is None:
            bias = reversed_alibi_bias(slopes, shape[1])
        return cls(slopes, bias_dtype, mask, spans, bias, mode)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0) -> Tensor:
        """Attend; returns (batch, n_heads, length, head_size).

        Args:
            query: (batch, n_heads, length, head_size), not scaled.
            key: of the same shape.
            value: of the same shape.
            dropout: of the attention probabilities.
        """
        if self.mode == "dense":
            return scaled_dot_product_attention(query, key, value, attn_mask=self.bias, dropout_p=dropout)
        if self.mode == "blockwise":
            return self._blockwise(query, key, value, dropout)
        if self.spans is None:
            return _streamed(query, key, value, self.bias)
        outputs = []
        for row, (start, end) in enumerate(self.spans):
            part = slice(row, row + 1), slice(None), slice(start, end)
            bias = reversed_alibi_bias(self.slopes, end - start)
            found = _streamed(query[part], key[part], value[part], bias)  # (1, n_heads, end - start, head_size)
            outputs.append(torch.nn.functional.pad(found, (0, 0, start, query.shape[2] - end)))
        return torch.cat(outputs)

    def _blockwise(self, query: Tensor, key: Tensor, value: Tensor, dropout: float) -> Tensor:
        batch, n_heads, length, _ = query.shape
        size = max(1, BLOCK_ELEMENTS // (batch * n_heads * length))
        positions = torch.arange(length, device=query.device)
        recompute = torch.is_grad_enabled() and query.requires_grad

        def attend(rows: Tensor, part: Tensor) -> Tensor:
            bias = alibi_bias(self.slopes, rows, positions)[None].to(self.dtype)  # (1, n_heads, m, n)
            bias = _masked(bias, self.mask)  # (1 or batch, n_heads, m, n)
            return scaled_dot_product_attention(part, key, value, attn_mask=bias, dropout_p=dropout)

        outputs = []
        for rows, part in zip(positions.split(size), query.split(size, dim=2), strict=True):
            if recompute:
                outputs.append(checkpoint(attend, rows, part, use_reentrant=False))
            else:
                outputs.append(attend(rows, part))
        return torch.cat(outputs, dim=2)


def _streamed(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
    mask = None if bias is None else bias[None]
    return scaled_dot_product_attention(query.flip(2), key, value, attn_mask=mask).flip(2)


def _masked(bias: Tensor, mask: Tensor | None) -> Tensor:
    """Give padded keys the lowest number there is.

    It replaces the bias; added to it, the sum would overflow to minus infinity, and a row of nothing else is NaN.
    """
    if mask is None:
        return bias
    return bias.masked_fill(~mask[:, None, None, :], torch.finfo(bias.dtype).min)  # (batch, n_heads, m, n)


def _spans(mask: Tensor) -> tuple[tuple[int, int], ...] | None:
    """Return start and end of each row's tokens; None where some row has none, or has padding between them."""
    length = mask.shape[1]
    counts = mask.sum(dim=1)
    starts = mask.int().argmax(dim=1)
    ends = length - mask.flip(1).int().argmax(dim=1)
    if not bool(((ends - starts == counts) & (counts > 0)).all()):
        return None
    return tuple(zip(starts.tolist(), ends.tolist(), strict=True))
