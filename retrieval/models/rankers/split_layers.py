"""The layers of a BERT or a DistilBERT, some at a time: positions, masks and states come from outside."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from retrieval.errors import RerankerError
from retrieval.rerankers.first_token import FirstTokenLayer


def layers_of(backbone: Any) -> nn.ModuleList:
    """Return the layers of an encoder.

    Raises:
        RerankerError: it is neither a BERT (MiniLM is one) nor a DistilBERT.
    """
    name = type(backbone).__name__
    if name not in ("BertModel", "DistilBertModel"):
        raise RerankerError(f"the layers of {name} cannot be run apart; take a BERT, MiniLM or DistilBERT as backbone")
    layers: nn.ModuleList = backbone.encoder.layer if name == "BertModel" else backbone.transformer.layer
    return layers


def embed(backbone: Any, input_ids: Tensor, start: int, segment: int) -> Tensor:
    """Return what the first layer reads, (n, tokens, hidden).

    Args:
        backbone: a BERT or a DistilBERT.
        input_ids: (n, tokens).
        start: position of the first token.
        segment: of all tokens; an encoder with one segment or none takes no notice of it.
    """
    positions = (start + torch.arange(input_ids.shape[1], device=input_ids.device)).expand_as(input_ids)
    table = getattr(backbone.embeddings, "token_type_embeddings", None)
    segments = {}
    if table is not None:
        segments["token_type_ids"] = torch.full_like(input_ids, min(segment, table.num_embeddings - 1))
    states: Tensor = backbone.embeddings(input_ids=input_ids, position_ids=positions, **segments)
    return states


def run_layers(backbone: Any, layers: Iterable[nn.Module], states: Tensor, mask: Tensor) -> Tensor:
    """Return states after some layers, (n, tokens, hidden).

    Args:
        backbone: that the layers are of.
        layers: in their order.
        states: (n, tokens, hidden).
        mask: (n, tokens) bool, tokens that are attended to; at least one in each row.
    """
    attended = attention_mask(backbone, states, mask)
    for layer in layers:
        states = layer(states, attended)
    return states


def first_state(backbone: Any, layer: Any, states: Tensor, mask: Tensor) -> Tensor:
    """Return what a layer makes of the first token, (n, hidden), without dropout; arguments as in `run_layers`.

    Keys and values are needed of all tokens; queries and the feed-forward network, most of a layer's work, of one.
    """
    seen = attention_mask(backbone, states, mask)
    if type(backbone).__name__ == "BertModel":
        found: Tensor = FirstTokenLayer(layer)(states, seen)
        return found[:, 0]
    attention, first = layer.attention, states[:, :1]
    query, key, value = (
        projection(read).unflatten(-1, (attention.n_heads, -1)).transpose(1, 2)
        for projection, read in ((attention.q_lin, first), (attention.k_lin, states), (attention.v_lin, states))
    )  # (n, heads, 1 or tokens, head size)
    attended = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, :, :1])
    normed = layer.sa_layer_norm(attention.out_lin(attended.transpose(1, 2).flatten(2)) + first)
    output: Tensor = layer.output_layer_norm(layer.ffn(normed) + normed)
    return output[:, 0]


def attention_mask(backbone: Any, states: Tensor, mask: Tensor) -> Tensor:
    """Return a mask as attention takes it, (n, 1, tokens, tokens): True where seen, or what is added to the scores."""
    seen = mask[:, None, None, :].expand(-1, 1, mask.shape[1], -1)
    if backbone.config._attn_implementation == "sdpa":
        return seen
    return torch.zeros_like(seen, dtype=states.dtype).masked_fill(~seen, torch.finfo(states.dtype).min)


def attention_probabilities(layer: Any, states: Tensor, mask: Tensor) -> Tensor:
    """Return what a layer's heads attend to when it reads states, (n, heads, tokens, tokens) float32, rows sum to 1.

    Args:
        layer: of a BERT or a DistilBERT.
        states: (n, tokens, hidden), its input.
        mask: (n, tokens) bool.
    """
    attention = layer.attention
    if hasattr(attention, "self"):
        projections, heads = (attention.self.query, attention.self.key), attention.self.num_attention_heads
    else:
        projections, heads = (attention.q_lin, attention.k_lin), attention.n_heads
    query, key = (
        projection(states).unflatten(-1, (heads, -1)).transpose(1, 2).float() for projection in projections
    )  # (n, heads, tokens, head size)
    scores = query @ key.transpose(2, 3) / query.shape[-1] ** 0.5
    return scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(dim=-1)
