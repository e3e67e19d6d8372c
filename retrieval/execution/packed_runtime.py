"""A sentence-transformers model as a runtime without padding: a packed network, then the library's own pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from retrieval.errors import EncoderError
from retrieval.execution.packed import PackedNetwork, PackedStates, packed_network
from retrieval.execution.padded_runtime import AFTER_POOLING, PaddedRuntime
from retrieval.execution.probing import agree, probe_batch
from retrieval.execution.runtime import TokenBatch
from retrieval.execution.versions import torch_execution


class PackedRuntime:
    """Runs a `SentenceTransformer` whose network is BERT-like without padding; see `packed_runtime`.

    Args:
        model: in the precision and on the device that it is to run in.
        network: of its first module.
    """

    def __init__(self, model: Any, network: PackedNetwork) -> None:
        self._parts: tuple[Any, PackedNetwork] | None = (model, network)

    def run(self, batch: TokenBatch) -> np.ndarray:
        """Return the vectors of texts, (n, d) float32.

        Raises:
            EncoderError: the runtime is closed; a run that has begun is finished.
        """
        model, network = self._open()
        with torch.inference_mode():
            states, offsets, order = _pooled_states(model, network, batch)
            features: dict[str, Any] = {"token_embeddings": states[None], "cu_seq_lens_q": offsets}
            if batch.prompt_length:
                features["prompt_length"] = batch.prompt_length
            for module in list(model)[1:]:
                features = module(features)
            found: np.ndarray = features["sentence_embedding"].float().cpu().numpy()
        vectors = np.empty_like(found)
        vectors[order] = found
        return vectors

    def execution(self) -> dict[str, Any]:
        """Return precision, device, versions, and that nothing is padded."""
        model, _ = self._open()
        return {**torch_execution(model), "packed": True}

    def close(self) -> None:
        """Let go of the model."""
        self._parts = None

    def _open(self) -> tuple[Any, PackedNetwork]:
        parts = self._parts  # read once: another thread may close the runtime
        if parts is None:
            raise EncoderError("the encoder is closed; load it again")
        return parts


def _pooled_states(model: Any, network: PackedNetwork, batch: TokenBatch) -> PackedStates:
    """Return the token states that the model's pooling reads: of pooling by the first token, those tokens alone."""
    if not _reads_first_tokens(model, batch) or network.device.type != "cpu":
        # On a GPU the whole layer is some kernels; attention of the first tokens would be some for each length.
        return network.states(batch)
    first = network.first_states(batch)  # (n, d)
    n = len(first)
    return PackedStates(first, torch.arange(n + 1, dtype=torch.int32), np.arange(n))


def _reads_first_tokens(model: Any, batch: TokenBatch) -> bool:
    """Tell whether nothing behind a model's network reads other states than those of the texts' first tokens."""
    pooling: Any = model[1]
    if pooling.pooling_mode != "cls" or (batch.prompt_length and not pooling.include_prompt):
        return False
    read = (getattr(module, "module_input_name", "sentence_embedding") for module in list(model)[2:])
    return all(name == "sentence_embedding" for name in read)


def packed_runtime(model: Any, pad_id: int, *, copied: bool = False) -> PackedRuntime | None:
    """Return a runtime without padding that gives the vectors of the padded one; None where there is none.

    It is there for BERT-like networks (`retrieval.execution.backbone`) with the library's own pooling and, behind it,
    modules that read the pooled vector alone. Both ways are compared on a few tokens before it is returned.

    Args:
        model: a `SentenceTransformer` that reads plain text through one transformer, not in training.
        pad_id: of its tokenizer.
        copied: see `PackedNetwork`; for models that nobody else changes.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling

    _, *later = model
    if not later or type(later[0]) is not Pooling or model.training or any((model.module_kwargs or {}).values()):
        return None
    if any(type(module).__name__ not in AFTER_POOLING for module in later[1:]):
        return None
    try:
        network = packed_network(model[0].model, copied=copied)
        if network is None:
            return None
        packed, batch = PackedRuntime(model, network), probe_batch(model)
        return packed if agree(PaddedRuntime(model, pad_id).run(batch), packed.run(batch), model.dtype) else None
    except (AttributeError, IndexError, RuntimeError, TypeError):
        # Another version of a library, no kernel for this device, or fewer positions than the tokens compared.
        return None
