"""A sequence classifier run by ONNX Runtime or OpenVINO, after its network has been exported on this machine.

What decides a score is the same as in PyTorch: weights, tokens and settings. In fp32 a logit differs from PyTorch's by
rounding only. PyTorch's model is needed for the export alone; afterwards nothing of it stays in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.encoders.model_inputs import PreparedTexts
from retrieval.errors import EncoderError, RerankerError
from retrieval.execution.runtime import Runtime
from retrieval.execution.splitting import MemoryLimit, run_batches
from retrieval.rerankers.classifier import BATCH_TOKENS, check_batch_tokens, checked_labels, model_batches
from retrieval.rerankers.duo import DuoInputs
from retrieval.rerankers.pair_inputs import AssembledPairs, PairInputs
from retrieval.rerankers.precision import set_precision
from retrieval.runtimes.calibration import Calibration
from retrieval.runtimes.exporting import exported_classifier
from retrieval.runtimes.loading import Inputs, exported_runtime, start_runtime

_TEXTS = {2: "pairs of a query and a document", 3: "triples of a query and two documents"}
"""What an input is made of, by the number of its texts."""


class ExportedClassifier:
    """A sequence classifier with one logit or two in another runtime than PyTorch.

    Args:
        runtime: gives the logits of a batch.
        n_labels: logits of an input.
        batch_tokens: of a batch, padding included; by default 2,048.

    Raises:
        RerankerError: `batch_tokens` makes no sense.
    """

    def __init__(self, runtime: Runtime, n_labels: int, *, batch_tokens: int | None = None) -> None:
        check_batch_tokens(batch_tokens)
        self.n_labels = n_labels
        self._runtime: Runtime | None = runtime
        self._batch_tokens = batch_tokens or BATCH_TOKENS
        self._limit = MemoryLimit()

    def logits(self, prepared: PreparedTexts) -> np.ndarray:
        """Return the logits of prepared inputs, (n, n_labels) float32; inputs of like length go together.

        Raises:
            RerankerError: it is closed.
        """
        runtime, tokens = self._open(), prepared.tokens
        assert tokens is not None  # or it had not been loaded
        found = np.empty((len(prepared.lengths), self.n_labels), np.float32)
        batches = model_batches(prepared.lengths, self._batch_tokens, "cpu")
        for rows, logits in run_batches(batches, lambda rows: runtime.run(tokens(rows)), prepared.lengths, self._limit):
            found[rows] = logits
        return found

    def execution(self) -> dict[str, Any]:
        """Return precision, runtime, device, batch size and version."""
        return {**self._open().execution(), "batch_tokens": self._batch_tokens}

    def close(self) -> None:
        """Let go of the network; what another thread has begun is finished."""
        self._runtime = None

    def _open(self) -> Runtime:
        if self._runtime is None:
            raise RerankerError("the reranker is closed; load it again")
        return self._runtime


def runtime_of_settings(
    runtime: str | None, precision: str | None, device: str | None, calibration: Sequence[Any] | None
) -> str | None:
    """Return the runtime that is to run an exported classifier; None for PyTorch.

    Raises:
        RerankerError: there is no such runtime, or the settings do not fit each other.
        MissingExtraError: its package is not installed.
    """
    try:
        return exported_runtime(runtime, precision, device, calibration)
    except EncoderError as error:
        raise RerankerError(str(error)) from None


def load_exported_classifier(
    runtime: str,
    model: Any,
    inputs: PairInputs | DuoInputs,
    *,
    name: str,
    weights: str,
    precision: str | None,
    calibration: Sequence[Sequence[str]] | None,
    batch_tokens: int | None,
) -> ExportedClassifier:
    """Return a loaded classifier in another runtime; its network is exported where that has not been done before.

    Args:
        runtime: "onnx" or "openvino".
        model: of transformers, for sequence classification, on the processor; it is brought to fp32.
        inputs: make what it reads.
        name: what it is called, for messages.
        weights: digest of its weights.
        precision: one of `runtimes.loading.RUNTIMES`; None for "fp32".
        calibration: the texts of some hundred inputs, from which OpenVINO's "int8" takes the ranges of activations.
        batch_tokens: see `ExportedClassifier`.

    Raises:
        MissingExtraError: a package is missing.
        RerankerError: the runtime cannot run this model in this precision.
    """
    n_labels = checked_labels(model)
    try:
        runs = _runtime(runtime, model, inputs, weights=weights, precision=precision, calibration=calibration)
    except (EncoderError, RerankerError) as error:
        raise RerankerError(f"model {name!r} cannot be run by {runtime}: {error}") from error
    return ExportedClassifier(runs, n_labels, batch_tokens=batch_tokens)


def _runtime(
    runtime: str,
    model: Any,
    inputs: PairInputs | DuoInputs,
    *,
    weights: str,
    precision: str | None,
    calibration: Sequence[Sequence[str]] | None,
) -> Runtime:
    from retrieval.rerankers.first_token import reading_first_token

    if not isinstance(inputs, (AssembledPairs, DuoInputs)):
        raise RerankerError("it makes its input itself, not by a tokenizer alone; leave runtime out")
    n_texts = 3 if isinstance(inputs, DuoInputs) else 2
    example = inputs.prepare(["a"], ["b"], np.zeros((1, n_texts), np.int64))
    if example.tokens is None:
        raise RerankerError("its tokenizer pads on the left, and exported networks on the right; leave runtime out")
    called = Inputs.like(example.tokens(np.arange(1)), inputs.pad_id)
    calibrated = _calibration(inputs, calibration, n_texts) if (runtime, precision) == ("openvino", "int8") else None
    whole = set_precision(model, "fp32").eval()
    network = exported_classifier(reading_first_token(whole), weights, called.names, runtime)
    return start_runtime(runtime, network, called, None, precision=precision, calibration=calibrated)


def _calibration(
    inputs: AssembledPairs | DuoInputs, calibration: Sequence[Sequence[str]] | None, n_texts: int
) -> Calibration:
    """Return what texts are to a network.

    Raises:
        RerankerError: there are none, or one of them is something else.
    """
    if not calibration:
        raise RerankerError(
            f"the ranges of precision='int8' are found from texts: give calibration= some hundred {_TEXTS[n_texts]}, "
            "or use precision='bf16', or runtime='onnx', which finds them as it runs"
        )
    if isinstance(calibration, str) or not isinstance(calibration, Sequence):
        raise RerankerError(f"calibration is {calibration!r:.80}; give a list of {_TEXTS[n_texts]}")
    for each in calibration:
        if not (_is_texts(each) and len(each) == n_texts):
            raise RerankerError(f"calibration holds {each!r:.80}; give {_TEXTS[n_texts]}")
    queries, documents = [each[0] for each in calibration], [text for each in calibration for text in each[1:]]
    of_query = np.arange(len(queries))[:, None]  # (n, 1)
    of_documents = np.arange(len(documents)).reshape(len(queries), -1)  # (n, 1 or 2)
    prepared = inputs.prepare(queries, documents, np.hstack([of_query, of_documents]))
    assert prepared.tokens is not None
    return Calibration.of_texts(prepared.tokens, len(queries), inputs.pad_id)


def _is_texts(thing: object) -> bool:
    return isinstance(thing, (list, tuple)) and all(isinstance(text, str) for text in thing)
