"""Which head of a BERT gets which slope of ALiBi: the one that it costs least.

A head that attends far away loses what it does under a steep slope; one that looks at its neighbours hardly notices.
The heads of a layer can change places without changing its function, so that they are assigned to the slopes such that
the outputs of attention change least, in squares, over texts of random words: no data are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from retrieval.models.alibi_bert.alibi import alibi_bias, alibi_slopes

_TEXTS = 4
_LENGTH = 128


def head_orders(bert: Any, seed: int = 0) -> list[list[int]]:
    """Return for each layer which head of a BERT comes to the place of each slope.

    Args:
        bert: a `transformers.BertModel` with its own positions.
        seed: of the random words.

    Returns:
        For each layer a permutation of the heads: its entry h is the old head for `alibi_slopes(n_heads)[h]`.
    """
    from scipy.optimize import linear_sum_assignment

    config = bert.config
    length = min(_LENGTH, config.max_position_embeddings)
    words = torch.randint(config.vocab_size, (_TEXTS, length), generator=torch.Generator().manual_seed(seed))
    positions = torch.arange(length)
    bias = alibi_bias(alibi_slopes(config.num_attention_heads), positions, positions).to(bert.device)
    training = bert.training
    bert.eval()
    with torch.no_grad():
        states = bert(words.to(bert.device), output_hidden_states=True).hidden_states
        costs = [_costs(layer, state.float(), bias) for layer, state in zip(bert.encoder.layer, states, strict=False)]
    bert.train(training)
    return [linear_sum_assignment(cost.cpu().numpy())[1].tolist() for cost in costs]


def reorder_heads(attention: Any, order: Sequence[int]) -> None:
    """Let the heads of a layer change places; what the layer computes without biases stays.

    Args:
        attention: with `self.query`, `self.key`, `self.value` and `output.dense`, as BERT and the ALiBi encoder have.
        order: the old head at each place.
    """
    dense = attention.output.dense
    size = dense.in_features // len(order)
    rows = torch.cat([torch.arange(head * size, (head + 1) * size) for head in order])
    with torch.no_grad():
        for linear in (attention.self.query, attention.self.key, attention.self.value):
            linear.weight.copy_(linear.weight[rows].clone())
            linear.bias.copy_(linear.bias[rows].clone())
        dense.weight.copy_(dense.weight[:, rows].clone())


def _costs(layer: Any, state: Tensor, bias: Tensor) -> Tensor:
    """Return what each slope does to each head's part of the layer's attention, (n_slopes, n_heads).

    Args:
        layer: of the BERT.
        state: its input, (texts, length, d).
        bias: (n_heads, length, length).
    """
    attention = layer.attention.self
    n_heads = len(bias)

    def heads(linear: Any) -> Tensor:
        projected = torch.nn.functional.linear(state, linear.weight.float(), linear.bias.float())
        return projected.view(*state.shape[:2], n_heads, -1).transpose(1, 2)  # (texts, n_heads, length, size)

    query, key, value = (heads(linear) for linear in (attention.query, attention.key, attention.value))
    scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5  # (texts, n_heads, length, length)
    usual = scores.softmax(dim=-1)
    outputs = layer.attention.output.dense.weight.float().view(state.shape[-1], n_heads, -1)  # (d, n_heads, size)
    rows = []
    for slope_bias in bias:
        changed = ((scores + slope_bias).softmax(dim=-1) - usual) @ value  # (texts, n_heads, length, size)
        rows.append(torch.einsum("thls,dhs->thld", changed, outputs).square().sum(dim=(0, 2, 3)))
    return torch.stack(rows)
