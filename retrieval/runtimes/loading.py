"""From the name of a runtime to what runs a loaded model's network: what can be asked for, and how it is started."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from retrieval.encoders.base import check_texts
from retrieval.encoders.model_identity import describe_modules
from retrieval.encoders.model_inputs import TokenizedInputs, inputs_of
from retrieval.encoders.sentence_transformer import max_tokens_of, prompts_of
from retrieval.errors import EncoderError
from retrieval.execution.precision import chosen_precision, processor_has_bf16
from retrieval.execution.runtime import Runtime, TokenBatch
from retrieval.runtimes import onnx_runtime, openvino_runtime
from retrieval.runtimes.calibration import Calibration
from retrieval.runtimes.exporting import exported_network
from retrieval.runtimes.heads import SentenceHead
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
        # PyTorch computes bf16 on any processor, slowly; other runtimes do not.
        precision = chosen if chosen in RUNTIMES[name] and (chosen == "fp32" or processor_has_bf16()) else "fp32"
    if precision is not None and precision not in RUNTIMES[name]:
        raise EncoderError(f"runtime {name!r} has no precision {precision!r}: one of {', '.join(RUNTIMES[name])}")
    required(_PACKAGES[name], name)
    return precision or "fp32"


def exported_runtime(
    runtime: str | None, precision: str | None, device: str | None, calibration: Sequence[Any] | None
) -> str | None:
    """Return the runtime that is to run an exported network, of what users ask for; None for PyTorch.

    Args:
        runtime: "torch" (None) or one of `RUNTIMES`.
        precision: one of the runtime's; those of PyTorch are not checked here.
        device: that users name, if any.
        calibration: only OpenVINO's "int8" has one.

    Raises:
        EncoderError: the settings do not fit each other, or there is no such runtime.
        MissingExtraError: its package is not installed.
    """
    exported = None if runtime in (None, "torch") else str(runtime)
    if exported is not None:
        check_runtime(exported, precision)
        if device not in (None, "cpu"):
            raise EncoderError(f"runtime {runtime!r} computes on the processor, not on {device!r}; leave device out")
    if calibration is not None and (exported, precision) != ("openvino", "int8"):
        raise EncoderError("calibration is for runtime='openvino' with precision='int8'; leave it out")
    return exported


class Inputs(NamedTuple):
    """How an exported network is called.

    Attributes:
        pad_id: the token that stands where no token is.
        names: of its inputs.
    """

    pad_id: int
    names: list[str]

    @classmethod
    def like(cls, example: TokenBatch, pad_id: int) -> Inputs:
        """Return how a network is called that reads texts such as this one."""
        return cls(pad_id, list(example.padded(pad_id)))


def start_runtime(
    name: str,
    network: Path,
    inputs: Inputs,
    head: SentenceHead | None,
    *,
    precision: str | None,
    calibration: Calibration | None = None,
) -> Runtime:
    """Return a runtime for an exported network.

    Args:
        name: one of `RUNTIMES`.
        network: its ONNX file.
        inputs: how it is called.
        head: see `ExportedNetwork`.
        precision: one of the runtime's; None for "fp32".
        calibration: for OpenVINO's "int8".

    Raises:
        MissingExtraError: a package is missing.
        EncoderError: the runtime cannot run this network in this precision, or it would need a calibration.
    """
    precision = check_runtime(name, precision)
    if name == "onnx":
        network = onnx_runtime.in_eight_bits(network) if precision == "int8" else network
        return onnx_runtime.OnnxRuntime(network, head, inputs.pad_id, inputs.names, precision)
    digest = None
    if precision == "int8":
        if calibration is None:
            raise EncoderError(
                "runtime 'openvino' finds the ranges of precision='int8' from texts: give calibration= some hundred "
                "passages, or use precision='bf16'"
            )
        digest = calibration.digest
        network = openvino_runtime.in_eight_bits(network, calibration.samples, digest)
    return openvino_runtime.OpenVinoRuntime(network, head, inputs.pad_id, inputs.names, precision, calibration=digest)


def load_runtime(
    name: str,
    model: Any,
    weights: str,
    *,
    precision: str | None = None,
    calibration: Sequence[str] | Calibration | None = None,
) -> Runtime:
    """Return a runtime for a loaded encoder; its network is exported where that has not been done before.

    Args:
        name: "onnx" or "openvino".
        model: a `SentenceTransformer` in fp32 on the processor.
        weights: digest of its weights.
        precision: one of `RUNTIMES`, or "auto"; None for "fp32".
        calibration: some hundred passages like those that will be encoded, from which OpenVINO's "int8" takes the
            ranges of activations; or what was made of them before.

    Raises:
        MissingExtraError: a package is missing.
        EncoderError: the runtime cannot run this model in this precision.
    """
    inputs = inputs_of(model, max_tokens_of(model))
    if not isinstance(inputs, TokenizedInputs):
        raise EncoderError(f"the model makes its input itself; runtime {name!r} needs one that reads tokens alone")
    passage_prompt = prompts_of(model)["document"]
    head = head_of(model, prompted=any(prompts_of(model).values()))
    example = inputs.prepare(["a"], "", "document")
    assert example.tokens is not None
    called = Inputs.like(example.tokens(np.arange(1)), inputs.pad_id)
    network = exported_network(model, weights, describe_modules(model), called.names, name)
    if calibration is not None and not isinstance(calibration, Calibration):
        calibration = _calibration(inputs, calibration, passage_prompt)
    return start_runtime(name, network, called, head, precision=precision, calibration=calibration)


def _calibration(inputs: TokenizedInputs, texts: Sequence[str], prompt: str) -> Calibration | None:
    texts = check_texts(texts)
    if not texts:
        return None
    prepared = inputs.prepare(texts, prompt, "document")
    assert prepared.tokens is not None
    return Calibration.of_texts(prepared.tokens, len(texts), inputs.pad_id)
