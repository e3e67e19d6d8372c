"""From the name of a runtime to what runs a loaded model's network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from retrieval.encoders.base import check_texts
from retrieval.encoders.model_identity import describe_modules
from retrieval.encoders.model_inputs import TokenizedInputs, inputs_of
from retrieval.encoders.sentence_transformer import max_tokens_of, prompts_of
from retrieval.errors import EncoderError
from retrieval.execution.precision import chosen_precision
from retrieval.execution.runtime import Runtime
from retrieval.runtimes import onnx_runtime, openvino_runtime
from retrieval.runtimes.exporting import exported_network
from retrieval.runtimes.model_heads import head_of
from retrieval.runtimes.requirements import required

RUNTIMES = {"onnx": onnx_runtime.PRECISIONS, "openvino": openvino_runtime.PRECISIONS}
"""The precisions of each runtime beside PyTorch."""

_PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}


def check_runtime(name: str, precision: str | None) -> str:
    """Return the precision that a runtime is to compute in; None is "fp32", "auto" what PyTorch would take if it can.

    Raises:
        EncoderError: there is no such runtime, or it has no such precision.
        MissingExtraError: its package is not installed.
    """
    if name not in RUNTIMES:
        raise EncoderError(f"unknown runtime {name!r}: one of torch, {', '.join(RUNTIMES)}")
    if precision == "auto":
        chosen = chosen_precision("cpu")
        precision = chosen if chosen in RUNTIMES[name] else "fp32"
    if precision is not None and precision not in RUNTIMES[name]:
        raise EncoderError(f"runtime {name!r} has no precision {precision!r}: one of {', '.join(RUNTIMES[name])}")
    required(_PACKAGES[name], name)
    return precision or "fp32"


def load_runtime(
    name: str, model: Any, weights: str, *, precision: str | None = None, calibration: Sequence[str] | None = None
) -> Runtime:
    """Return a runtime for a loaded model; its network is exported where that has not been done before.

    Args:
        name: "onnx" or "openvino".
        model: a `SentenceTransformer` in fp32 on the processor.
        weights: digest of its weights.
        precision: one of `RUNTIMES`, or "auto"; None for "fp32".
        calibration: some hundred passages like those that will be encoded, from which OpenVINO's "int8" takes the
            ranges of activations.

    Raises:
        MissingExtraError: a package is missing.
        EncoderError: the runtime cannot run this model in this precision.
    """
    precision = check_runtime(name, precision)
    inputs = inputs_of(model, max_tokens_of(model))
    if not isinstance(inputs, TokenizedInputs):
        raise EncoderError(f"the model makes its input itself; runtime {name!r} needs one that reads tokens alone")
    if calibration is not None and (name, precision) != ("openvino", "int8"):
        raise EncoderError("calibration is for runtime='openvino' with precision='int8'; leave it out")
    passage_prompt = prompts_of(model)["document"]
    head = head_of(model, prompted=any(prompts_of(model).values()))
    example = inputs.prepare(["a"], "", "document")
    assert example.tokens is not None
    names = list(example.tokens(np.arange(1)).padded(inputs.pad_id))
    network = exported_network(model, weights, describe_modules(model), names, name)
    if name == "onnx":
        network = onnx_runtime.in_eight_bits(network) if precision == "int8" else network
        return onnx_runtime.OnnxRuntime(network, head, inputs.pad_id, names, precision)
    digest = None
    if precision == "int8":
        samples, digest = _samples(inputs, calibration, passage_prompt)
        network = openvino_runtime.in_eight_bits(network, samples, digest)
    return openvino_runtime.OpenVinoRuntime(network, head, inputs.pad_id, names, precision, calibration=digest)


def _samples(
    inputs: TokenizedInputs, texts: Sequence[str] | None, prompt: str
) -> tuple[list[dict[str, np.ndarray]], str]:
    """Return texts as a network reads them, one by one, and a digest of them.

    Raises:
        EncoderError: there are none.
    """
    texts = check_texts(texts or [])
    if not texts:
        raise EncoderError(
            "runtime 'openvino' finds the ranges of precision='int8' from texts: give calibration= some hundred "
            "passages, or use precision='bf16'"
        )
    prepared = inputs.prepare(texts, prompt, "document")
    assert prepared.tokens is not None
    samples = [prepared.tokens(np.array([row])).padded(inputs.pad_id) for row in range(len(texts))]
    digest = hashlib.sha256(b"".join(sample["input_ids"].tobytes() + b"\n" for sample in samples)).hexdigest()
    return samples, digest
