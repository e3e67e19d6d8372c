"""The seam between an encoder and what runs its network: token ids go in, vectors come out.

An encoder tokenises, plans batches, and puts vectors back in order; a runtime sees one batch of token ids at a time.
PyTorch is one runtime, with padding or without it; exported models in other libraries are others. None of them decides
which vectors a text gets (that is the encoder's identity), only how they are computed (its execution).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

Task = Literal["query", "document"]
"""What a text is to a model."""


class TokenBatch(NamedTuple):
    """The token ids of some texts, one text behind the other, without padding.

    Attributes:
        ids: (total,) int64, special tokens included.
        lengths: (n,) int64, tokens of each text, each at least 1.
        segments: (total,) int64 for a model that reads segments; else None.
        prompt_length: how many of a text's first positions belong to its prompt, for poolings that leave them out.
        task: what the texts are; only models with a module that asks for it make a difference.
    """

    ids: np.ndarray
    lengths: np.ndarray
    segments: np.ndarray | None = None
    prompt_length: int = 0
    task: Task = "document"

    def padded(self, pad_id: int) -> dict[str, np.ndarray]:
        """Return the rectangle that most networks read, padded on the right.

        Args:
            pad_id: stands where no token is.

        Returns:
            `input_ids`, `attention_mask` (1 at tokens) and, with segments, `token_type_ids`, each (n, width) int64.
        """
        mask = np.arange(int(self.lengths.max(initial=0))) < self.lengths[:, None]  # (n, width)
        ids = np.full(mask.shape, pad_id, np.int64)
        ids[mask] = self.ids
        features = {"input_ids": ids, "attention_mask": mask.astype(np.int64)}
        if self.segments is not None:
            features["token_type_ids"] = np.zeros(mask.shape, np.int64)
            features["token_type_ids"][mask] = self.segments
        return features


class Runtime(Protocol):
    """Runs a network, with its pooling and whatever stands behind it, over one batch after another.

    `run` may be called from several threads at once.
    """

    def run(self, batch: TokenBatch) -> np.ndarray:
        """Return what the network makes of each text, (n, d) float32, in their order.

        Raises:
            MemoryError: the batch does not fit; it is then run again in halves. A `RuntimeError` that says so counts
                as well (`retrieval.execution.splitting`).
        """

    def execution(self) -> dict[str, Any]:
        """Return how it computes, as JSON values: "precision", "runtime", "device", versions of its libraries."""

    def close(self) -> None:
        """Let go of the network."""
