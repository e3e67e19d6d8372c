"""What a transformer module hands on: states of tokens and layers, with padding or one text behind the other."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from retrieval.errors import EncoderError


def token_mask(features: dict[str, Any]) -> Tensor:
    """Return which positions of a padded batch are tokens, (batch, T) bool; padding may be on either side."""
    if "cu_seq_lens_q" in features:  # texts one behind the other, without padding
        lengths = features["cu_seq_lens_q"].diff()
        return torch.arange(int(lengths.max()), device=lengths.device)[None, :] < lengths[:, None]
    states, mask = features["token_embeddings"], features.get("attention_mask")
    if mask is None or mask.shape[-1] != states.shape[1]:
        return torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
    return mask.bool()


def padded(features: dict[str, Any], states: Tensor, mask: Tensor) -> Tensor:
    """Return states as a padded batch, (batch, T, H), whose padding is zero.

    Args:
        features: of the pipeline.
        states: (batch, T, H), or (1, tokens, H) of texts one behind the other.
        mask: (batch, T) bool, from `token_mask`.
    """
    if "cu_seq_lens_q" not in features:
        return states.masked_fill(~mask[..., None], 0.0)
    batch = states.new_zeros((*mask.shape, states.shape[-1]))
    batch[mask] = states[0]
    return batch


def all_layers(features: dict[str, Any], n_states: int) -> tuple[Tensor, ...]:
    """Return the states after the embeddings and after every layer.

    Args:
        features: of the pipeline.
        n_states: how many there must be, one more than layers.

    Raises:
        EncoderError: the transformer gave out its last layer only, or has another number of layers.
    """
    states: tuple[Tensor, ...] | None = features.get("all_layer_embeddings")
    if states is None:
        raise EncoderError(
            "the transformer gives out its last layer only: build the SentenceTransformer with this module, or call "
            "on_model_ready(model)"
        )
    if len(states) != n_states:
        raise EncoderError(
            f"this module reads {n_states - 1} layers and the embeddings, the transformer has {len(states) - 1} layers"
        )
    return states
