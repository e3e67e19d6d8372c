"""The parts of a BERT-like network of transformers, under one set of names: what packed execution runs itself.

Covered are networks whose layers are BERT's: attention to all tokens, a sum and a layer norm, two linear layers with an
activation between them, a sum and a layer norm. BERT, RoBERTa, XLM-R, CamemBERT, ELECTRA, DistilBERT; MPNet, which adds
a bias by relative position to the attention's scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ATTENTION = ("sdpa", "eager")
"""Implementations of attention that compute what packed execution computes."""

_LIKE_BERT = frozenset({"BertModel", "CamembertModel", "ElectraModel", "RobertaModel", "XLMRobertaModel"})

_POSITIONS_BEHIND_PADDING = frozenset({"CamembertModel", "MPNetModel", "RobertaModel", "XLMRobertaModel"})
"""Networks that count positions from behind the padding's id and skip padding tokens."""


@dataclass(frozen=True)
class LayerParts:
    """One layer; all parts are the network's own modules.

    Attributes:
        query: linear, of states.
        key: likewise.
        value: likewise.
        attended: linear, of what attention gives.
        attention_norm: layer norm of its sum with the states.
        inner: the wide linear layer.
        activation: behind it.
        outer: the linear layer back.
        norm: layer norm of its sum with what went into `inner`.
    """

    query: Any
    key: Any
    value: Any
    attended: Any
    attention_norm: Any
    inner: Any
    activation: Callable[[Tensor], Tensor]
    outer: Any
    norm: Any


def linear_bytes(layer: LayerParts) -> int:
    """Return what the weights of a layer's linear parts take."""
    linear = (layer.query, layer.key, layer.value, layer.attended, layer.inner, layer.outer)
    weights = [parameter for part in linear for parameter in part.parameters()]
    return sum(weight.numel() * weight.element_size() for weight in weights)


@dataclass(frozen=True)
class BackboneParts:
    """A network's parts.

    Attributes:
        network: of transformers.
        layers: from the input to the output.
        n_heads: of attention.
        padding_id: where positions are counted from behind it; None where they begin at 0.
        reads_segments: whether the embeddings take segments.
    """

    network: Any
    layers: tuple[LayerParts, ...]
    n_heads: int
    padding_id: int | None
    reads_segments: bool

    def embeddings(self, ids: Tensor, positions: Tensor, segments: Tensor | None) -> Tensor:
        """Return what the first layer reads, (total, d).

        Args:
            ids: (total,) int64.
            positions: (total,) int64, of each token in its text, from 0 (see `position_ids`).
            segments: (total,) int64; None are all 0.
        """
        given = {"token_type_ids": None if segments is None else segments[None]} if self.reads_segments else {}
        states = self.network.embeddings(input_ids=ids[None], position_ids=positions[None], **given)
        project = getattr(self.network, "embeddings_project", None)
        found: Tensor = (states if project is None else project(states))[0]
        return found

    def position_ids(self, ids: Tensor, positions: Tensor, starts: Tensor) -> Tensor:
        """Return the positions that the network has embeddings for, (total,) int64.

        Args:
            ids: (total,) int64.
            positions: (total,) int64, of each token in its text.
            starts: (total,) int64, where each token's text begins.
        """
        if self.padding_id is None:
            return positions
        counts = ids != self.padding_id
        if bool(counts.all()):
            return positions + (self.padding_id + 1)
        # A text may hold the padding's token as a word: it has no position, and those behind it count on without it.
        sums = torch.cat([counts.new_zeros(1, dtype=torch.int64), torch.cumsum(counts, 0)])
        return (sums[1:] - sums[starts]) * counts + self.padding_id

    def position_bias(self, longest: int) -> Tensor | None:
        """Return what is added to the scores of attention, (1, heads, longest, longest); None where nothing is."""
        bias = getattr(getattr(self.network, "encoder", None), "compute_position_bias", None)
        if bias is None:
            return None
        found: Tensor = bias(torch.empty(1, longest, 1, device=self.network.device))
        return found


def backbone_parts(network: Any) -> BackboneParts | None:
    """Return the parts of a network of transformers; None where they are not known."""
    kind = type(network).__name__
    config = getattr(network, "config", None)
    if config is None or getattr(config, "is_decoder", False) or config._attn_implementation not in ATTENTION:
        return None
    if getattr(config, "position_embedding_type", "absolute") not in (None, "absolute"):
        return None
    read = {"DistilBertModel": _distilbert_layers, "MPNetModel": _mpnet_layers}.get(kind)
    if read is None and kind in _LIKE_BERT:
        read = _bert_layers
    if read is None:
        return None
    try:
        layers = tuple(read(network))
        return BackboneParts(
            network=network,
            layers=layers,
            n_heads=config.num_attention_heads,
            padding_id=network.embeddings.padding_idx if kind in _POSITIONS_BEHIND_PADDING else None,
            reads_segments=hasattr(network.embeddings, "token_type_embeddings"),
        )
    except AttributeError:  # another version of the library has them under other names
        return None


def _bert_layers(network: Any) -> list[LayerParts]:
    return [
        LayerParts(
            query=layer.attention.self.query,
            key=layer.attention.self.key,
            value=layer.attention.self.value,
            attended=layer.attention.output.dense,
            attention_norm=layer.attention.output.LayerNorm,
            inner=layer.intermediate.dense,
            activation=layer.intermediate.intermediate_act_fn,
            outer=layer.output.dense,
            norm=layer.output.LayerNorm,
        )
        for layer in network.encoder.layer
    ]


def _distilbert_layers(network: Any) -> list[LayerParts]:
    return [
        LayerParts(
            query=layer.attention.q_lin,
            key=layer.attention.k_lin,
            value=layer.attention.v_lin,
            attended=layer.attention.out_lin,
            attention_norm=layer.sa_layer_norm,
            inner=layer.ffn.lin1,
            activation=layer.ffn.activation,
            outer=layer.ffn.lin2,
            norm=layer.output_layer_norm,
        )
        for layer in network.transformer.layer
    ]


def _mpnet_layers(network: Any) -> list[LayerParts]:
    return [
        LayerParts(
            query=layer.attention.attn.q,
            key=layer.attention.attn.k,
            value=layer.attention.attn.v,
            attended=layer.attention.attn.o,
            attention_norm=layer.attention.LayerNorm,
            inner=layer.intermediate.dense,
            activation=layer.intermediate.intermediate_act_fn,
            outer=layer.output.dense,
            norm=layer.output.LayerNorm,
        )
        for layer in network.encoder.layer
    ]
