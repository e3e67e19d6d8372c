"""Whether two ways of running a network compute the same: both are asked for a few tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from retrieval.execution.runtime import TokenBatch

_PROBES = (7, 1, 3, 7)
"""Tokens of the texts that two ways are compared on."""

_TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Differences, relative to the largest component, above which two ways do not compute the same."""


def probe_batch(model: Any) -> TokenBatch:
    """Return a few tokens of a sentence-transformers model's vocabulary.

    Raises:
        AttributeError: its first module is no transformer with a vocabulary.
    """
    vocabulary = model[0].model.config.vocab_size
    lengths = np.array(_PROBES, np.int64)
    ids = (np.arange(lengths.sum()) * 7919 + 11) % vocabulary
    segments = np.zeros_like(ids) if "token_type_ids" in model.tokenizer.model_input_names else None
    return TokenBatch(ids, lengths, segments)


def agree(expected: np.ndarray, found: np.ndarray, dtype: torch.dtype) -> bool:
    """Tell whether two ways gave the same, up to the rounding of a type.

    Args:
        expected: (n, d), the library's own way; where it is not finite, nothing agrees, and the library says what is
            wrong.
        found: (n, d).
        dtype: of the network.
    """
    if expected.shape != found.shape or not np.isfinite(expected).all():
        return False
    largest = max(float(np.abs(expected).max()), 1e-12)
    return float(np.abs(found - expected).max()) <= largest * _TOLERANCES.get(dtype, 0.0)
