"""OpenVINO on the processor, in fp32, bf16, or with linear layers in eight bits after calibration.

OpenVINO computes in bf16 by default where the processor has units for it; here the precision is always said. Eight bits
come from NNCF's post-training quantisation, which reads some texts to find the ranges of activations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import EncoderError
from retrieval.runtimes.exported import ExportedNetwork
from retrieval.runtimes.exporting import quiet
from retrieval.runtimes.heads import SentenceHead
from retrieval.runtimes.kept_folders import kept_folder
from retrieval.runtimes.openvino_network import OpenVinoNetwork
from retrieval.runtimes.requirements import n_threads, required, version_of

EXTRA = "openvino"
PRECISIONS = ("fp32", "bf16", "int8")

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
_QUANTISED = "network.xml"
_FORMAT = 2
"""Raised when what is quantised changes."""


class OpenVinoRuntime(ExportedNetwork):
    """A network in OpenVINO.

    Args:
        network: an ONNX file, or OpenVINO's own.
        head: see `ExportedNetwork`.
        pad_id: the token that stands where no token is.
        input_names: that the network reads.
        precision: of the computation; "int8" for a file of `in_eight_bits`, whose other layers stay in fp32.
        calibration: digest of the texts that the ranges of "int8" come from.

    Raises:
        MissingExtraError: the package is missing.
        EncoderError: the processor has no such precision, or the file cannot be read.
    """

    def __init__(
        self,
        network: Path,
        head: SentenceHead | None,
        pad_id: int,
        input_names: list[str],
        precision: str,
        *,
        calibration: str | None = None,
    ) -> None:
        super().__init__(head, pad_id, input_names)
        library = required("openvino", EXTRA)
        core = library.Core()
        able = list(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
        if precision == "bf16" and "BF16" not in able:
            raise EncoderError(f"this processor has no units for bf16 (it has {', '.join(able)}); use precision='fp32'")
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": n_threads(),
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
        }
        try:
            compiled = core.compile_model(core.read_model(network), "CPU", settings)
        except RuntimeError as error:
            raise EncoderError(f"OpenVINO cannot run {network}: {' '.join(str(error).split())[:200]}") from error
        self._network: OpenVinoNetwork | None = OpenVinoNetwork(compiled)
        self._execution = {
            "precision": precision,
            "runtime": "openvino",
            "device": "cpu",
            "openvino": version_of(library),
        }
        if calibration is not None:
            self._execution["calibration"] = calibration

    def execution(self) -> dict[str, Any]:
        """Return precision, runtime and version."""
        return dict(self._execution)

    def close(self) -> None:
        """Let go of the network."""
        self._network = None

    def _output(self, features: dict[str, np.ndarray]) -> np.ndarray:
        network = self._network
        if network is None:
            raise EncoderError("the encoder is closed; load it again")
        return network.run(features)


def in_eight_bits(network: Path, samples: Sequence[Mapping[str, np.ndarray]], texts: str) -> Path:
    """Return a network with its linear layers in eight bits, calibrated, made if need be.

    Args:
        network: an ONNX file.
        samples: inputs for the network, as it will see them; none for one that was made before.
        texts: digest of the texts that they come from.

    Raises:
        MissingExtraError: a package is missing.
        EncoderError: the cache cannot be written, or there are no samples and the network is not in it.
    """
    library, quantiser = required("openvino", EXTRA), required("nncf", EXTRA)

    def make(folder: Path) -> None:
        if not samples:
            raise EncoderError(
                f"the texts that precision='int8' was calibrated with (digest {texts}) are not known, and the network "
                "that was made of them is not kept here: load the encoder with the same calibration= and open the "
                "collection with it, or call reencode()"
            )
        with quiet():
            read = library.Core().read_model(network)
            quantised = quantiser.quantize(
                read,
                quantiser.Dataset(list(samples)),
                model_type=quantiser.ModelType.TRANSFORMER,
                subset_size=len(samples),
                ignored_scope=quantiser.IgnoredScope(names=_tables_of_one_row(read)),
            )
        library.save_model(quantised, folder / _QUANTISED, compress_to_fp16=False)

    # The folder of the network is named by all that it was made of.
    made_of = {
        "kind": "openvino int8",
        "format": _FORMAT,
        "network": network.parent.name,
        "texts": texts,
        **{package.__name__: version_of(package) for package in (library, quantiser)},
    }
    return kept_folder(made_of, make) / _QUANTISED


def _tables_of_one_row(model: Any) -> list[str]:
    """Return the names of look-ups in tables with one row, such as RoBERTa's of segments.

    OpenVINO cannot compile them in eight bits: it would fold them into a constant, and has no way for that type.
    """
    lookups = [operation for operation in model.get_ops() if operation.get_type_name() == "Gather"]
    shapes = [lookup.input(0).get_partial_shape() for lookup in lookups]
    return [
        lookup.get_friendly_name()
        for lookup, shape in zip(lookups, shapes, strict=True)
        if shape.is_static and tuple(shape.to_shape())[:1] == (1,)
    ]
