"""ONNX Runtime on the processor, in fp32, or with linear layers in eight bits.

Eight bits: weights by a scale for each output channel, activations by one for each batch, found as it runs
(`onnxruntime.quantization.quantize_dynamic`). So a text's vector hangs on the texts that stand beside it: of eight
short texts of MiniLM, alone and together, the lowest cosine was 0.97. Ranges fixed beforehand (`quantize_static`, from
100 passages) were farther from the exact vectors, a mean cosine of 0.936 over 150 texts instead of 0.994. OpenVINO's
calibrated eight bits do not hang on the batch. What is said of vectors goes for a classifier's logits as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from retrieval.errors import EncoderError
from retrieval.runtimes.exported import ExportedNetwork
from retrieval.runtimes.exporting import NETWORK, quiet
from retrieval.runtimes.heads import SentenceHead
from retrieval.runtimes.kept_folders import kept_folder
from retrieval.runtimes.requirements import n_threads, required, version_of

EXTRA = "onnx"
PRECISIONS = ("fp32", "int8")

_SHORT_OF_MEMORY = "Failed to allocate memory"
"""What its errors say then."""


class OnnxRuntime(ExportedNetwork):
    """An ONNX file in ONNX Runtime.

    Args:
        network: the file.
        head: see `ExportedNetwork`.
        pad_id: the token that stands where no token is.
        input_names: that the network reads.
        precision: that the file was made in.

    Raises:
        MissingExtraError: the package is missing.
        EncoderError: it cannot read the file.
    """

    def __init__(
        self, network: Path, head: SentenceHead | None, pad_id: int, input_names: list[str], precision: str
    ) -> None:
        super().__init__(head, pad_id, input_names)
        library = required("onnxruntime", EXTRA)
        options = library.SessionOptions()
        options.intra_op_num_threads = n_threads()
        options.log_severity_level = 3  # errors
        try:
            self._session: Any = library.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library has an exception for each of its status codes
            raise EncoderError(f"ONNX Runtime cannot run {network}: {' '.join(str(error).split())[:200]}") from error
        self._execution = {
            "precision": precision,
            "runtime": "onnx",
            "device": "cpu",
            "onnxruntime": version_of(library),
        }

    def execution(self) -> dict[str, Any]:
        """Return precision, runtime and version."""
        return dict(self._execution)

    def close(self) -> None:
        """Let go of the network."""
        self._session = None

    def _output(self, features: dict[str, np.ndarray]) -> np.ndarray:
        session = self._session
        if session is None:
            raise EncoderError("the encoder is closed; load it again")
        try:
            output: np.ndarray = session.run(None, features)[0]
        except Exception as error:  # of the library, and no RuntimeError
            if _SHORT_OF_MEMORY not in str(error):
                raise
            reason = str(error)
        else:
            return output
        raise MemoryError(f"ONNX Runtime: {reason[reason.index(_SHORT_OF_MEMORY) :].strip()}")


def in_eight_bits(network: Path) -> Path:
    """Return a network with its matrix products in eight bits, made if need be.

    Raises:
        MissingExtraError: a package is missing.
        EncoderError: the cache cannot be written.
    """
    library, quantisation = required("onnxruntime", EXTRA), required("onnxruntime.quantization", EXTRA)

    def make(folder: Path) -> None:
        with quiet():
            quantisation.quantize_dynamic(
                network,
                folder / NETWORK,
                op_types_to_quantize=["MatMul", "Gemm"],
                per_channel=True,
                weight_type=quantisation.QuantType.QInt8,
            )

    # The folder of the network is named by all that it was made of.
    made_of = {"kind": "onnx int8", "network": network.parent.name, "onnxruntime": version_of(library)}
    return kept_folder(made_of, make) / NETWORK
