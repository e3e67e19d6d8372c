"""A sentence-transformers model as a runtime: its own modules over padded batches, whatever they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from retrieval.errors import EncoderError
from retrieval.execution.devices import on_device
from retrieval.execution.runtime import TokenBatch
from retrieval.execution.versions import torch_execution

AFTER_POOLING = frozenset({"Normalize", "Dense", "LayerNorm", "Dropout"})
"""Modules that see a vector and no tokens."""


class PaddedRuntime:
    """Runs a `SentenceTransformer` as it is.

    Args:
        model: in the precision and on the device that it is to run in.
        pad_id: of its tokenizer.
    """

    def __init__(self, model: Any, pad_id: int) -> None:
        self._model = model
        self._pad_id = pad_id

    def run(self, batch: TokenBatch) -> np.ndarray:
        """Return the vectors of padded texts, (n, d) float32.

        Raises:
            EncoderError: the runtime is closed; a run that has begun is finished.
        """
        import torch

        model = self._open()
        features: dict[str, Any] = {name: torch.from_numpy(value) for name, value in batch.padded(self._pad_id).items()}
        features["modality"] = "text"
        if batch.prompt_length:
            features["prompt_length"] = batch.prompt_length
        return run_modules(model, features, batch.task)

    def execution(self) -> dict[str, Any]:
        """Return precision, device and versions."""
        return torch_execution(self._open())

    def close(self) -> None:
        """Let go of the model."""
        self._model = None

    def _open(self) -> Any:
        model = self._model  # read once: another thread may close the runtime
        if model is None:
            raise EncoderError("the encoder is closed; load it again")
        return model


def run_modules(model: Any, features: dict[str, Any], task: str) -> np.ndarray:
    """Return what a `SentenceTransformer` makes of its own input, (n, d) float32.

    Args:
        model: any.
        features: its padded input; tensors are moved to its device.
        task: "query" or "document".
    """
    import torch

    moved = on_device(features, model.device)
    with torch.inference_mode():
        vectors: np.ndarray = model(moved, task=task)["sentence_embedding"].float().cpu().numpy()
    return vectors
