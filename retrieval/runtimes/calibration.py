"""What OpenVINO's eight bits take the ranges of activations from: some texts, or what was made of them before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np

from retrieval.execution.runtime import TokenBatch

_DIGITS = 16


class Calibration(NamedTuple):
    """Texts as a network reads them, and who they are.

    Attributes:
        digest: of all of them; `execution()` shows it.
        samples: inputs of the network by name, one text each; none where the network was made of them before and is
            taken from the cache.
    """

    digest: str
    samples: list[dict[str, np.ndarray]]

    @classmethod
    def of_texts(cls, tokens: Callable[[np.ndarray], TokenBatch], n: int, pad_id: int) -> Self:
        """Return the calibration by n texts, each read alone.

        Args:
            tokens: see `PreparedTexts.tokens`.
            n: texts.
            pad_id: the token that stands where no token is.
        """
        samples = [tokens(np.array([row])).padded(pad_id) for row in range(n)]
        content = b"".join(sample["input_ids"].tobytes() + b"\n" for sample in samples)
        return cls(hashlib.sha256(content).hexdigest()[:_DIGITS], samples)

    @classmethod
    def made_before(cls, digest: str) -> Self:
        """Return one whose texts nobody has at hand any more; what was made of them must be in the cache."""
        return cls(digest, [])
