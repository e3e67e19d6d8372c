"""The last layer of a classifier, for the token that the classifier reads.

A head over [CLS] reads one position of the last layer's output. Keys and values are needed of all tokens; queries, the
projection of the attention's output and the feed-forward network, five sixths of a layer's multiplications, of one.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

MODELS = frozenset(
    f"{family}ForSequenceClassification" for family in ("Bert", "Camembert", "Electra", "Roberta", "XLMRoberta")
)
"""Classifiers whose head reads the first token alone, and whose layers are those of BERT."""

ATTENTION = ("sdpa", "eager")
"""Implementations that give a layer its mask for each query and key, or none."""


class FirstTokenLayer(nn.Module):
    """A layer of BERT that returns its first token, (batch, 1, hidden).

    Args:
        layer: with the parameters, which are shared.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, *_: Any, **__: Any) -> Tensor:
        """Return the layer's output at the first position.

        Args:
            hidden_states: (batch, length, hidden).
            attention_mask: (batch, 1, length or 1, length), True or 0.0 where keys are seen; None sees all.
        """
        attention = self.layer.attention
        first = hidden_states[:, :1]
        query, key, value = (
            projection(states).unflatten(-1, (attention.self.num_attention_heads, -1)).transpose(1, 2)
            for projection, states in (
                (attention.self.query, first),
                (attention.self.key, hidden_states),
                (attention.self.value, hidden_states),
            )
        )  # (batch, heads, 1 or length, head size)
        mask = None if attention_mask is None else attention_mask[:, :, :1]
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended = attention.output(seen.transpose(1, 2).flatten(2), first)  # (batch, 1, hidden)
        output: Tensor = self.layer.output(self.layer.intermediate(attended), attended)
        return output


def reading_first_token(model: Any) -> Any:
    """Return a classifier that gives the same logits with less work; the model itself where that is not known of it.

    It shares modules and parameters with the model, which stays as it is.
    """
    known = type(model).__name__ in MODELS and model.config._attn_implementation in ATTENTION
    if not known or model.config.is_decoder:
        return model
    network, base = _shallow_copy(model), _shallow_copy(model.base_model)
    encoder = _shallow_copy(base.encoder)
    encoder.layer = nn.ModuleList([*encoder.layer[:-1], FirstTokenLayer(encoder.layer[-1])])
    base.encoder = encoder
    setattr(network, model.base_model_prefix, base)
    return network if _agree(model, network) else model


def head_logits(model: Any, first: Tensor) -> Tensor:
    """Return the logits, (n, labels), that the head of one of `MODELS` gives first tokens.

    Args:
        model: the classifier.
        first: (n, 1 or more, hidden), states of the last layer.
    """
    if getattr(model.base_model, "pooler", None) is not None:
        first = model.dropout(model.base_model.pooler(first))
    found: Tensor = model.classifier(first)
    return found


def _shallow_copy(module: Any) -> Any:
    copied = copy.copy(module)
    copied._modules = dict(module._modules)
    return copied


def _agree(model: Any, other: Any) -> bool:
    """Tell whether two classifiers agree on an input with padding: layers may change with the library's version."""
    ids = torch.arange(1, 9, device=model.device).reshape(2, 4) % model.config.vocab_size
    tolerance = 1e-4 if model.dtype == torch.float32 else 0.1
    with torch.inference_mode():
        for mask in (None, torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]], device=model.device)):
            expected, found = (each(input_ids=ids, attention_mask=mask).logits.float() for each in (model, other))
            if not torch.allclose(found, expected, rtol=tolerance, atol=tolerance):
                return False
    return True
