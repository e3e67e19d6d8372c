"""A classifier over tokens without padding, its last layer computed for the tokens that its head reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from retrieval.execution.packed import PackedNetwork, packed_network
from retrieval.execution.runtime import TokenBatch
from retrieval.rerankers.first_token import MODELS, head_logits

_PROBES = (6, 2, 6, 3)
"""Tokens of the inputs that the packed and the padded way are compared on."""


class PackedClassifier:
    """Gives the logits of a transformers model for sequence classification; see `packed_classifier`.

    Args:
        model: one of `MODELS`.
        network: its base model.
    """

    def __init__(self, model: Any, network: PackedNetwork) -> None:
        self._model = model
        self._network = network

    def logits(self, batch: TokenBatch) -> np.ndarray:
        """Return the logits of inputs, (n, labels) float32."""
        with torch.inference_mode():
            first = self._network.first_states(batch)
            found: np.ndarray = head_logits(self._model, first[:, None]).float().cpu().numpy()
        return found


def packed_classifier(model: Any, *, copied: bool = False) -> PackedClassifier | None:
    """Return a classifier that gives the same logits without padding; None where that is not known of it.

    Args:
        model: of transformers, in evaluation mode.
        copied: see `PackedNetwork`; for models that nobody else changes.
    """
    if type(model).__name__ not in MODELS:
        return None
    try:
        network = packed_network(model.base_model, copied=copied)
        if network is None:
            return None
        found = PackedClassifier(model, network)
        return found if _agree(found, model) else None
    except (AttributeError, RuntimeError, TypeError):  # another version of a library, or no kernel for this device
        return None


def _agree(packed: PackedClassifier, model: Any) -> bool:
    """Tell whether the packed and the padded way give the same logits of a few tokens."""
    lengths = np.array(_PROBES, np.int64)
    ids = (np.arange(lengths.sum()) * 7919 + 11) % model.config.vocab_size
    batch = TokenBatch(ids, lengths)
    features = {name: torch.from_numpy(value).to(model.device) for name, value in batch.padded(0).items()}
    tolerance = 1e-4 if model.dtype == torch.float32 else 0.1
    with torch.inference_mode():
        expected = model(**features).logits.float().cpu().numpy()
    return np.allclose(packed.logits(batch), expected, rtol=tolerance, atol=tolerance, equal_nan=True)
