"""Loops around ONNX Runtime and OpenVINO as people write them: 32 texts at a time as they come, padded to the longest.

They run the very file that the engine's own runtimes do, and differ from them in nothing but the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.runtimes.requirements import n_threads, required

BATCH = 32
"""Texts of a batch, sentence-transformers' default."""

_INPUTS = ("input_ids", "attention_mask", "token_type_ids")

States = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""From padded inputs (n, width) int64 to states (n, width, d) float32."""


def plain_loop(folder: Path, max_tokens: int, states: States) -> Callable[[Sequence[str]], np.ndarray]:
    """Return an encoder of mean-pooled, normalised vectors.

    Args:
        folder: with `tokenizer.json`.
        max_tokens: where texts are cut.
        states: runs the network.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(max_tokens)
    tokenizer.enable_padding()

    def encode(texts: Sequence[str]) -> np.ndarray:
        vectors = []
        for start in range(0, len(texts), BATCH):
            encoded = tokenizer.encode_batch(list(texts[start : start + BATCH]))
            mask = np.array([each.attention_mask for each in encoded], np.int64)
            inputs = {
                "input_ids": np.array([each.ids for each in encoded], np.int64),
                "attention_mask": mask,
                "token_type_ids": np.zeros_like(mask),
            }
            pooled = np.einsum("nwd,nw->nd", states(inputs), mask.astype(np.float32))
            vectors.append(pooled / np.linalg.norm(pooled, axis=1, keepdims=True))
        return np.concatenate(vectors)

    return encode


def onnx_states(network: Path) -> States:
    """Return ONNX Runtime's run of a network in fp32.

    Raises:
        MissingExtraError: it is not installed.
    """
    library = required("onnxruntime", "onnx")
    options = library.SessionOptions()
    options.intra_op_num_threads = n_threads()
    session = library.InferenceSession(str(network), options, providers=["CPUExecutionProvider"])

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        states: np.ndarray = session.run(["states"], dict(inputs))[0]
        return states

    return run


def openvino_states(network: Path, hint: str) -> States:
    """Return OpenVINO's run of a network; `hint` is its "f32" or "bf16".

    Raises:
        MissingExtraError: it is not installed.
    """
    library = required("openvino", "openvino")
    settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": n_threads()}
    compiled = library.compile_model(library.Core().read_model(network), "CPU", settings)

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.asarray(compiled(dict(inputs))[0])

    return run


def exported_embedded(model: Any) -> Path:
    """Return the ONNX file of the embedded model that the engine's runtimes have exported, or will.

    Args:
        model: the embedded model as a `SentenceTransformer`.

    Raises:
        MissingExtraError: what exports it is not installed.
    """
    from retrieval.encoders.model_identity import describe_modules, weights_digest
    from retrieval.runtimes.exporting import exported_network

    return exported_network(model, weights_digest(model), describe_modules(model), list(_INPUTS), "onnx")
