"""Winner-take-all: the k largest of n linear outputs of each token, without ever holding tokens x n numbers.

The linear layer runs over blocks of tokens; of each block only the winners stay, (tokens, k). The backward pass touches
the rows of winners alone and skips winners whose gradient is zero, which after max pooling are nearly all, so that its
cost is that of the dimensions that made it into the text's vector.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_ELEMENTS = 1 << 23
"""Numbers that a block may hold on a processor: 32 MiB in float32."""

BLOCK_ELEMENTS_GPU = 1 << 27
"""Likewise on a GPU, which needs larger blocks to be busy: 512 MiB in float32."""


def top_k(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest of each row; of equal scores those with the lower number win.

    Args:
        scores: (rows, n), any floating type.
        k: from 1 to n.

    Returns:
        (rows, k) scores and (rows, k) int64 numbers, in no particular order.
    """
    # One more than wanted shows where the last place is contested; whom topk chooses there is not defined.
    values, ids = torch.topk(scores, min(k + 1, scores.shape[1]), dim=1)
    contested = torch.nonzero(values[:, k - 1] == values[:, -1]).flatten() if values.shape[1] > k else ids[:0, 0]
    values, ids = values[:, :k].contiguous(), ids[:, :k].contiguous()  # (rows, k) each
    if len(contested):
        some, least = scores[contested], values[contested, -1:]
        tied, places = some == least, (values[contested] == least).sum(1, keepdim=True)
        kept = (some > least) | (tied & (tied.cumsum(1) <= places))  # (contested, n)
        chosen = torch.nonzero(kept)[:, 1].view(-1, k)  # every row keeps exactly k
        ids[contested], values[contested] = chosen, some.gather(1, chosen)
    return values, ids


def token_winners(hidden: Tensor, weight: Tensor, bias: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest components of `hidden @ weight.T + bias` for each token.

    Gradients flow through the winners' values only: to their rows of the weight, to their biases, and to the hidden
    states through these rows.

    Args:
        hidden: (tokens, H).
        weight: (n, H).
        bias: (n,).
        k: from 1 to n.

    Returns:
        (tokens, k) values and (tokens, k) int64 dimensions.
    """
    with torch.autocast(hidden.device.type, enabled=False):  # who wins is decided in the precision of the weights
        values, ids = _TokenWinners.apply(hidden.to(weight.dtype), weight, bias, k)
    return values, ids


def block_rows(width: int, device: torch.device) -> int:
    """Return how many rows of some width a block may have, at least 1."""
    return max((BLOCK_ELEMENTS if device.type == "cpu" else BLOCK_ELEMENTS_GPU) // width, 1)


class _TokenWinners(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values = hidden.new_empty((len(hidden), k))
        ids = torch.empty((len(hidden), k), dtype=torch.int64, device=hidden.device)
        step = block_rows(len(weight), hidden.device)
        for start in range(0, len(hidden), step):
            block = slice(start, start + step)
            scores = torch.addmm(bias, hidden[block], weight.t())  # (block, n)
            values[block], ids[block] = top_k(scores, k)
        ctx.save_for_backward(hidden, weight, ids)
        ctx.mark_non_differentiable(ids)
        return values, ids

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        hidden, weight, ids = ctx.saved_tensors
        of_hidden, of_weight = torch.zeros_like(hidden), torch.zeros_like(weight)
        tokens, places = torch.nonzero(gradient, as_tuple=True)  # (m,) each
        rows, flowing = ids[tokens, places], gradient[tokens, places]  # (m,) each
        of_bias = torch.zeros_like(weight[:, 0]).index_add_(0, rows, flowing)
        step = block_rows(hidden.shape[1], hidden.device)
        for start in range(0, len(rows), step):
            block = slice(start, start + step)
            row, token, scale = rows[block], tokens[block], flowing[block, None]
            of_hidden.index_add_(0, token, scale * weight[row])
            of_weight.index_add_(0, row, scale * hidden[token])
        return of_hidden, of_weight, of_bias, None


def pool_winners(values: Tensor, ids: Tensor, texts: Tensor, n_texts: int, n_dimensions: int) -> Tensor:
    """Return the largest value that each dimension wins with in each text, 0 where it wins nowhere or below 0.

    Args:
        values: (tokens, k) of the winners.
        ids: (tokens, k) int64, their dimensions.
        texts: (tokens,) int64, the number of the text that each token belongs to.
        n_texts: how many texts there are.
        n_dimensions: how many dimensions, n.

    Returns:
        (n_texts, n) of the values' type. Where several tokens have the same largest value, they share its gradient.
    """
    cells = (texts[:, None] * n_dimensions + ids).reshape(-1)  # (tokens * k,)
    pooled = values.new_zeros(n_texts * n_dimensions)
    return pooled.scatter_reduce(0, cells, values.reshape(-1), "amax", include_self=True).view(n_texts, n_dimensions)


def keep_largest(activations: Tensor, cap: int | None) -> Tensor:
    """Return activations with all but the `cap` largest of each row set to 0; of equal ones the lower dimension stays.

    Args:
        activations: (texts, n), at least 0.
        cap: at least 1; None keeps all.
    """
    if cap is None or cap >= activations.shape[1]:
        return activations
    _, ids = top_k(activations.detach(), cap)
    kept = torch.zeros_like(activations, dtype=torch.bool).scatter_(1, ids, value=True)
    return torch.where(kept, activations, torch.zeros_like(activations))
