"""Attention with linear biases: one slope for each head, no positions (Press et al., arXiv 2108.12409).

The bias between positions i and j in head h is -m_h |i - j|. It depends on the difference alone, so that one vector of
2n - 1 numbers for each head says everything about n positions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def alibi_slopes(n_heads: int) -> Tensor:
    """Return the slopes m_h of all heads, (n_heads,) float32, positive.

    For a power of two they are 2^(-8h/n), h = 1 to n. Otherwise they are those of the largest power of two p below n,
    followed by every other slope of 2p (the first, the third, …) until there are n.

    Args:
        n_heads: at least 1.

    Raises:
        ValueError: no heads.
    """
    if n_heads < 1:
        raise ValueError(f"ALiBi needs at least one head, not {n_heads}")
    power = 2 ** int(math.log2(n_heads))
    slopes = [2.0 ** (-8 * h / power) for h in range(1, power + 1)]
    slopes += [2.0 ** (-8 * h / (2 * power)) for h in range(1, 2 * (n_heads - power), 2)]
    return torch.tensor(slopes)


def alibi_bias(slopes: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the biases between positions, (n_heads, n_queries, n_keys) in the type of the slopes.

    Args:
        slopes: (n_heads,).
        queries: (n_queries,) positions.
        keys: (n_keys,) positions.
    """
    distances = (queries[:, None] - keys[None, :]).abs()  # (n_queries, n_keys)
    return -slopes[:, None, None] * distances


def reversed_alibi_bias(slopes: Tensor, length: int) -> Tensor:
    """Return the biases of all positions, queries from last to first, without holding them.

    Row r is the query at position length - 1 - r. In this order the bias of (r, j) depends on r + j only, so that the
    result can be a view of one vector for each head: it takes memory for 2 · length - 1 numbers a head.

    Args:
        slopes: (n_heads,).
        length: positions.

    Returns:
        (n_heads, length, length), read-only in effect: its elements share memory.
    """
    distances = torch.arange(1 - length, length, device=slopes.device).abs()  # (2 * length - 1,)
    line = -slopes[:, None] * distances  # (n_heads, 2 * length - 1)
    return line.as_strided((len(slopes), length, length), (line.stride(0), 1, 1))
