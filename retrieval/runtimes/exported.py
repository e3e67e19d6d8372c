"""What runtimes of exported networks have in common: padded batches go in, the states of tokens come out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from retrieval.errors import EncoderError
from retrieval.execution.runtime import TokenBatch
from retrieval.runtimes.heads import SentenceHead


class ExportedNetwork(ABC):
    """Runs an exported network and the head behind it.

    Args:
        head: makes vectors of token states.
        pad_id: the token that stands where no token is.
        input_names: that the network reads.
    """

    def __init__(self, head: SentenceHead, pad_id: int, input_names: list[str]) -> None:
        self._head = head
        self._pad_id = pad_id
        self._input_names = input_names

    def run(self, batch: TokenBatch) -> np.ndarray:
        """Return the vectors of texts, (n, d) float32."""
        padded = batch.padded(self._pad_id)
        states = self._states({name: padded[name] for name in self._input_names})  # (n, width, hidden)
        if states.shape[:2] != padded["input_ids"].shape:
            raise EncoderError(
                f"the exported network gave states of shape {states.shape} for {padded['input_ids'].shape}"
            )
        return self._head(states[padded["attention_mask"] == 1], batch.lengths)

    @abstractmethod
    def _states(self, features: dict[str, np.ndarray]) -> np.ndarray:
        """Return the last layer's states, (n, width, hidden) float32."""
