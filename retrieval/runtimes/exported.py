"""What runtimes of exported networks have in common: padded batches go in; states of tokens come out, or logits."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from retrieval.errors import EncoderError
from retrieval.execution.runtime import TokenBatch
from retrieval.runtimes.heads import SentenceHead


class ExportedNetwork(ABC):
    """Runs an exported network, and the head behind it where there is one.

    Args:
        head: makes vectors of the states of tokens; None for a network that ends in one row for each text, such as a
            classifier's logits.
        pad_id: the token that stands where no token is.
        input_names: that the network reads.
    """

    def __init__(self, head: SentenceHead | None, pad_id: int, input_names: list[str]) -> None:
        self._head = head
        self._pad_id = pad_id
        self._input_names = input_names

    def run(self, batch: TokenBatch) -> np.ndarray:
        """Return the vectors of texts, (n, d) float32; without a head what the network ends in, (n, labels)."""
        padded = batch.padded(self._pad_id)
        shape = padded["input_ids"].shape  # (n, width)
        output = self._output({name: padded[name] for name in self._input_names})
        if output.shape[:-1] != (shape[:1] if self._head is None else shape):
            raise EncoderError(f"the exported network gave an output of shape {output.shape} for {shape}")
        return output if self._head is None else self._head(output[padded["attention_mask"] == 1], batch.lengths)

    @abstractmethod
    def _output(self, features: dict[str, np.ndarray]) -> np.ndarray:
        """Return the last layer's states, (n, width, hidden) float32, or the logits, (n, labels) float32."""
