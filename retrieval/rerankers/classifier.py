"""A sequence classifier as both rerankers use it, run by PyTorch: batches to logits, and who it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from retrieval.batching import plan_batches, plan_cheapest_batches, plan_packed_batches
from retrieval.encoders.model_identity import backbone_settings
from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.encoders.sentence_transformer import BATCH_TOKENS_GPU
from retrieval.encoders.tokenization import PROBES
from retrieval.encoders.weights import remembered_digest, tensors_digest
from retrieval.errors import EncoderError, RerankerError
from retrieval.execution import precision as floating_point
from retrieval.execution.devices import on_device
from retrieval.execution.precision import Precision
from retrieval.execution.splitting import MemoryLimit, run_batches
from retrieval.rerankers.precision import RerankerPrecision, in_precision, name_of_precision

BATCH_TOKENS = 2048
"""Tokens of a batch on a processor, padding included."""

BATCH_OVERHEAD = 32
"""What a batch costs beside its tokens, in tokens: a forward pass of 32 tokens takes twice as long as its share of a
large one, with MiniLM on one core."""

_MANY = 4096
"""Inputs from which on neighbours by length are so alike that full batches hold next to no padding."""

WINDOW = 32_768
"""Inputs that are prepared together, of one query at least: what is in memory does not grow with the queries."""


class SequenceClassifier(Protocol):
    """What makes logits for a reranker: `Classifier` by PyTorch, `ExportedClassifier` by other runtimes.

    Attributes:
        n_labels: 1 or 2.
    """

    n_labels: int

    def logits(self, prepared: PreparedTexts) -> np.ndarray:
        """Return the logits of prepared inputs, (n, n_labels) float32.

        Raises:
            RerankerError: it is closed.
        """

    def execution(self) -> dict[str, Any]:
        """Return how it computes, as JSON values: "precision", "runtime", "device", "batch_tokens", versions."""

    def close(self) -> None:
        """Let go of the model."""


class Classifier:
    """A transformers model for sequence classification, or a `CrossEncoder`, with one logit or two.

    Args:
        model: used as it is; with a precision other than its own, a copy of it.
        precision: of weights and activations, see `RerankerPrecision`; scores are computed from the logits in float64.
        batch_tokens: of a batch, padding included; by default 2,048 on a processor and 65,536 on a GPU.
        packed: run models that are known over tokens without padding (`retrieval.execution`).
        own: whether the model is nobody else's, as when it was just loaded: its weights may then be laid out anew.

    Raises:
        RerankerError: the model has another number of logits.
    """

    def __init__(
        self,
        model: Any,
        *,
        precision: RerankerPrecision | None = None,
        batch_tokens: int | None = None,
        packed: bool = True,
        own: bool = False,
    ) -> None:
        from retrieval.rerankers.first_token import reading_first_token

        self.n_labels = checked_labels(model)
        check_batch_tokens(batch_tokens)
        self._is_plain = not hasattr(model, "preprocess")
        model = in_precision(model, precision).eval()
        self._packed = None
        if packed and self._is_plain:
            from retrieval.rerankers.packed_classifier import packed_classifier

            self._packed = packed_classifier(model, copied=own)
        self._whole: Any = model  # the other one may be a copy that shares its modules
        self._model: Any = reading_first_token(model) if self._is_plain else model
        self._device = self._model.device
        self._batch_tokens = batch_tokens or (BATCH_TOKENS if self._device.type == "cpu" else BATCH_TOKENS_GPU)
        self._limit = MemoryLimit()

    def logits(self, prepared: PreparedTexts) -> np.ndarray:
        """Return the logits of prepared inputs, (n, n_labels) float32.

        Inputs of like length go through the model together, whichever query they are of.
        """
        whole, packed = self._whole, self._packed  # before the model, which `close` lets go of first
        model = self._open()
        if whole.training:
            whole.eval()  # its owner goes on training it; dropout is no part of a score, as in `predict`
        found = np.empty((len(prepared.lengths), self.n_labels), np.float32)
        tokens = prepared.tokens if packed is not None else None
        if tokens is not None:
            batches = plan_packed_batches(prepared.lengths, self._batch_tokens)
        else:
            batches = model_batches(prepared.lengths, self._batch_tokens, self._device.type)

        def run(rows: np.ndarray) -> np.ndarray:
            if packed is None or tokens is None:
                return self._padded_logits(model, prepared.features(rows))
            return packed.logits(tokens(rows))

        for rows, logits in run_batches(batches, run, prepared.lengths, self._limit):
            found[rows] = logits.reshape(len(rows), self.n_labels)
        return found

    def _padded_logits(self, model: Any, features: dict[str, Any]) -> np.ndarray:
        import torch

        moved = on_device(features, self._device)
        with torch.inference_mode():
            output = model(**moved).logits if self._is_plain else model(moved)["scores"]
            logits: np.ndarray = output.float().cpu().numpy()
        return logits

    def execution(self) -> dict[str, Any]:
        """Return precision, device and versions."""
        import torch
        import transformers

        return {
            "precision": name_of_precision(self._open()),
            "runtime": "torch",
            "device": self._device.type,
            "batch_tokens": self._batch_tokens,
            **({"packed": True} if self._packed is not None else {}),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        }

    def close(self) -> None:
        """Let go of the model."""
        self._model = self._whole = self._packed = None

    def _open(self) -> Any:
        if self._model is None:
            raise RerankerError("the reranker is closed; load it again")
        return self._model


def model_batches(lengths: np.ndarray, batch_tokens: int, device: str) -> Iterator[np.ndarray]:
    """Yield the rows of each batch, (m,) int64, every row once; on a processor, few inputs in the cheapest batches.

    Args:
        lengths: (n,) tokens of each input.
        batch_tokens: of a batch, padding included.
        device: kind of the one where the model is, "cpu", "cuda", …
    """
    if len(lengths) >= _MANY or device != "cpu":
        return plan_batches(lengths, batch_tokens)
    return plan_cheapest_batches(lengths, batch_tokens, BATCH_OVERHEAD)


def checked_labels(model: Any) -> int:
    """Return how many logits a classifier has.

    Raises:
        RerankerError: neither one nor two.
    """
    n_labels = _n_labels(model)
    if n_labels not in (1, 2):
        raise RerankerError(f"the model has {n_labels} labels; a reranker has one, or two: irrelevant, relevant")
    return n_labels


def check_batch_tokens(batch_tokens: int | None) -> None:
    """Refuse a number of tokens that no batch can have.

    Raises:
        RerankerError: it is not at least 1.
    """
    if batch_tokens is not None and batch_tokens < 1:
        raise RerankerError(f"batch_tokens must be at least 1, not {batch_tokens}")


def check_precision(precision: Precision | None) -> None:
    """Refuse a precision that there is not.

    Raises:
        RerankerError: there is no such precision.
    """
    try:
        floating_point.check_precision(precision)
    except EncoderError as error:
        raise RerankerError(str(error)) from None


def relevance(logits: np.ndarray) -> np.ndarray:
    """Return what documents are ranked by, (n,) float64: a single logit as it is, of two log_softmax(logits)[1].

    The logarithm is monotone in the probability and, other than this, keeps apart what is close to 0 or 1.
    """
    logits = np.asarray(logits, np.float64)
    if logits.shape[1] == 1:
        return logits[:, 0]
    with np.errstate(invalid="ignore"):  # as in `probability`
        return -np.logaddexp(0.0, logits[:, 0] - logits[:, 1])


def probability(logits: np.ndarray) -> np.ndarray:
    """Return the probability of the positive class, (n,) float64: sigmoid of one logit, softmax(logits)[1] of two."""
    logits = np.asarray(logits, np.float64)
    margin = logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
    with np.errstate(invalid="ignore"):  # NaN stays NaN, and is refused where its documents are known
        return np.exp(-np.logaddexp(0.0, -margin))


def tokenizer_digest(tokenizer: Any) -> str:
    """Return a digest of what a tokenizer does: its vocabulary, and its ids of pairs where tokenizers differ."""
    digest = hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    for first, second in pairwise(PROBES):
        digest.update(json.dumps(list(tokenizer(first, second, verbose=False)["input_ids"])).encode())
    return digest.hexdigest()


def describe(model: Any, folder: Path | None) -> dict[str, Any]:
    """Return what decides a model's logits, beside what it reads: weights and the settings of its backbone.

    Args:
        model: as it is in its files, before a change of precision.
        folder: that it was loaded from, whose digest is remembered; None computes it.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json")) if folder else []
    state: dict[str, Any] = model.state_dict()
    return {
        "weights": remembered_digest("classifier", files, lambda: tensors_digest(state.values()))
        if files
        else tensors_digest(state.values()),
        "backbone": dict(backbone_settings(model.config)),
        "labels": _n_labels(model),
    }


def _n_labels(model: Any) -> int:
    # A `CrossEncoder` says it itself: its last module may have another number than its transformer's config.
    return int(model.num_labels if hasattr(model, "num_labels") else model.config.num_labels)
