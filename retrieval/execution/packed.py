"""A BERT-like network over the tokens of texts without padding.

Linear layers, layer norms and activations see one row for each token, whatever text it is of. Attention stays within a
text: texts of equal length are one rectangle without padding (Zeng et al. 2022, "Boosting Distributed Training
Performance of the Unpadded BERT Model", arXiv 2208.08124, group them likewise); a GPU has a kernel for all lengths at
once. ByteTransformer (Zhai et al. 2022, arXiv 2210.03052) states what this saves: the longest length / the mean one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from retrieval.execution.backbone import BackboneParts, LayerParts, backbone_parts, linear_bytes
from retrieval.execution.freed_memory import keep_freed_memory
from retrieval.execution.linear import PREPACKED_BYTES, Linear, is_exact_gelu, prepacked
from retrieval.execution.runtime import TokenBatch


class Places(NamedTuple):
    """Where the texts of a packed batch lie, longest first.

    Attributes:
        lengths: (n,) int64, descending.
        offsets: (n + 1,) int32, on the network's device, where each text begins and ends.
        groups: of texts of equal length: first row, texts, tokens of each.
    """

    lengths: np.ndarray
    offsets: Tensor
    groups: list[tuple[int, int, int]]


class PackedStates(NamedTuple):
    """Token states of a batch.

    Attributes:
        states: (total, d), one text behind the other.
        offsets: (n + 1,) int32.
        order: (n,) int64, which text of the batch each one is.
    """

    states: Tensor
    offsets: Tensor
    order: np.ndarray


Attention = Callable[[Tensor, Tensor, Tensor, Places], Tensor]
"""From queries, keys and values, (total, heads, head size), to what is seen, (total, heads * head size)."""


@dataclass(frozen=True)
class _Layer:
    """A layer as it is computed: three projections in one or apart, activation included."""

    project: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]
    attended: Linear
    attention_norm: Linear
    inner: Linear
    outer: Linear
    norm: Linear
    parts: LayerParts


class PackedNetwork:
    """Runs a network's parts over packed tokens.

    Args:
        parts: of the network; its own modules are called, so that what its owner changes in them counts.
        copied: lay the weights of its linear layers out for the processor, in a copy of up to `PREPACKED_BYTES`; for
            networks that nobody else changes.
    """

    def __init__(self, parts: BackboneParts, *, copied: bool = False) -> None:
        self._parts = parts
        self.device: torch.device = parts.network.device
        self.dtype: torch.dtype = parts.network.dtype
        copied = copied and sum(map(linear_bytes, parts.layers)) <= PREPACKED_BYTES
        self._layers = [_layer(each, copied) for each in parts.layers]
        if self.device.type == "cpu":
            keep_freed_memory()
        self._varlen = _varlen_attention(self.device, self.dtype)

    @property
    def fits_device(self) -> bool:
        """Whether packing is worth it: on a processor, and on a GPU that has a kernel for texts of all lengths."""
        bias = self._parts.position_bias(1)
        return self.device.type == "cpu" or (self._varlen is not None and bias is None)

    def states(self, batch: TokenBatch) -> PackedStates:
        """Return the last layer's states of all tokens."""
        states, places, order = self._embedded(batch)
        attention = self._attention(places)
        for layer in self._layers:
            query, key, value = self._heads(layer.project(states))
            states = _forward(layer, states, attention(query, key, value, places))
        return PackedStates(states, places.offsets, order)

    def first_states(self, batch: TokenBatch) -> Tensor:
        """Return the last layer's state of each text's first token, (n, d), in the order of the batch.

        Keys and values of the last layer are needed of all tokens; the rest of it, five sixths of its multiplications,
        is computed for the first tokens alone.
        """
        states, places, order = self._embedded(batch)
        attention = self._attention(places)
        *before, last = self._layers
        for layer in before:
            query, key, value = self._heads(layer.project(states))
            states = _forward(layer, states, attention(query, key, value, places))
        first = states[places.offsets[:-1].long()]  # (n, d)
        seen = self._seen_by_first(last, first, states, places)
        found = _forward(last, first, seen)
        ordered = torch.empty_like(found)
        ordered[torch.from_numpy(order).to(found.device)] = found
        return ordered

    def _embedded(self, batch: TokenBatch) -> tuple[Tensor, Places, np.ndarray]:
        """Return what the first layer reads, (total, d), with its texts sorted by length, longest first."""
        order = np.argsort(-batch.lengths, kind="stable")
        lengths = batch.lengths[order]
        ends = np.cumsum(lengths)
        starts = np.repeat(ends - lengths, lengths)  # (total,) where each token's text begins
        positions = np.arange(len(batch.ids)) - starts
        ids, segments = batch.ids, batch.segments
        if not np.array_equal(order, np.arange(len(order))):
            before = np.cumsum(batch.lengths) - batch.lengths
            rows = np.repeat(before[order], lengths) + positions
            ids, segments = ids[rows], None if segments is None else segments[rows]
        given = self._tensor(ids)
        at = self._parts.position_ids(given, self._tensor(positions), self._tensor(starts))
        states = self._parts.embeddings(given, at, None if segments is None else self._tensor(segments))
        offsets = self._tensor(np.concatenate([[0], ends]).astype(np.int32))
        changes = np.flatnonzero(np.diff(lengths)) + 1
        groups = [
            (int(ends[first] - lengths[first]), last - first, int(lengths[first]))
            for first, last in pairwise([0, *changes.tolist(), len(lengths)])
        ]
        return states, Places(lengths, offsets, groups), order

    def _tensor(self, values: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def _heads(self, projected: tuple[Tensor, ...]) -> list[Tensor]:
        return [each.unflatten(-1, (self._parts.n_heads, -1)) for each in projected]

    def _attention(self, places: Places) -> Attention:
        bias = self._parts.position_bias(int(places.lengths[0]))
        if self._varlen is not None and bias is None:
            return self._varlen
        return partial(_attention_by_length, bias=bias)

    def _seen_by_first(self, layer: _Layer, first: Tensor, states: Tensor, places: Places) -> Tensor:
        """Return what the first tokens see in a layer, (n, d)."""
        parts = layer.parts
        query, key, value = self._heads((parts.query(first), parts.key(states), parts.value(states)))
        bias = self._parts.position_bias(int(places.lengths[0]))
        found, done = [], 0
        for start, n, length in places.groups:
            rows = slice(start, start + n * length)
            keys, values = (each[rows].unflatten(0, (n, length)).transpose(1, 2) for each in (key, value))
            mask = None if bias is None else bias[:, :, :1, :length].to(query.dtype)
            seen = nn.functional.scaled_dot_product_attention(
                query[done : done + n, :, None], keys, values, attn_mask=mask
            )  # (n, heads, 1, head size)
            found.append(seen.flatten(1))
            done += n
        return torch.cat(found)


class _Together:
    """Three projections in one product."""

    def __init__(self, linear: Linear) -> None:
        self._linear = linear

    def __call__(self, states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = self._linear(states).chunk(3, dim=-1)
        return query, key, value


def _layer(parts: LayerParts, copied: bool) -> _Layer:
    def apart(states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return parts.query(states), parts.key(states), parts.value(states)

    def activated(states: Tensor) -> Tensor:
        return parts.activation(parts.inner(states))

    found = _Layer(apart, parts.attended, parts.attention_norm, activated, parts.outer, parts.norm, parts)
    if not copied or not is_exact_gelu(parts.activation):
        return found
    linear = [
        prepacked([parts.query, parts.key, parts.value]),
        prepacked([parts.attended]),
        prepacked([parts.inner], gelu=True),
        prepacked([parts.outer]),
    ]
    if any(each is None for each in linear):
        return found
    project, attended, inner, outer = (each for each in linear if each is not None)
    return _Layer(_Together(project), attended, parts.attention_norm, inner, outer, parts.norm, parts)


def _forward(layer: _Layer, states: Tensor, seen: Tensor) -> Tensor:
    """Return a layer's output for some tokens, (rows, d), from their states and what they see."""
    attended = layer.attention_norm(layer.attended(seen).add_(states))
    return layer.norm(layer.outer(layer.inner(attended)).add_(attended))


def _attention_by_length(query: Tensor, key: Tensor, value: Tensor, places: Places, *, bias: Tensor | None) -> Tensor:
    """Attend within each text, texts of equal length at once; see `Attention`."""
    found = []
    for start, n, length in places.groups:
        rows = slice(start, start + n * length)
        queries, keys, values = (each[rows].unflatten(0, (n, length)).transpose(1, 2) for each in (query, key, value))
        mask = None if bias is None else bias[:, :, :length, :length].to(query.dtype)
        # (n, heads, length, head size)
        seen = nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        found.append(seen.transpose(1, 2).reshape(n * length, -1))
    return found[0] if len(found) == 1 else torch.cat(found)


def _varlen_attention(device: torch.device, dtype: torch.dtype) -> Attention | None:
    """Return flash attention over texts of all lengths; None where the device, the type or torch has none."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return None
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None

    def attend(query: Tensor, key: Tensor, value: Tensor, places: Places) -> Tensor:
        longest = int(places.lengths[0])
        seen: Any = varlen_attn(query, key, value, places.offsets, places.offsets, longest, longest)
        found: Tensor = seen.flatten(1)
        return found

    return attend


def packed_network(network: Any, *, copied: bool = False) -> PackedNetwork | None:
    """Return a network of transformers for packed execution; None where its parts are not known or nothing is won.

    Args:
        network: without a head.
        copied: see `PackedNetwork`.
    """
    parts = backbone_parts(network)
    if parts is None or not parts.layers:
        return None
    found = PackedNetwork(parts, copied=copied)
    return found if found.fits_device else None
