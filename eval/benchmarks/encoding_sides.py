"""The sides of the encoding benchmark: the embedded model in this engine, in sentence-transformers, in other runtimes.

To add a side, add a function to `SIDES` that returns what encodes texts, or says why it cannot take part.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from retrieval.execution.precision import Precision, processor_has_bf16

Encode = Callable[[Sequence[str]], np.ndarray]
"""From texts to vectors, (n, d) float32, as a user of the side calls it; tokenisation included."""

REFERENCE = "sentence-transformers"
"""The side whose vectors all others are compared with, and whose time is the measure."""

PROFILED = ("engine, fp32", "engine, bf16")
"""The sides whose time is taken apart."""

_OPENVINO = {"fp32": "f32", "bf16": "bf16"}
"""Its names of precisions."""

NO_BF16 = "this processor has no instructions for bf16"


class Side(NamedTuple):
    """Something that encodes texts.

    Attributes:
        encode: the call.
        precision: "fp32", "bf16" …, which peak its speed is a share of.
    """

    encode: Encode
    precision: str


class LeftOut(Exception):  # noqa: N818  # no error: the reason stands in the notes
    """A side cannot take part here; the message says why."""


def _library(precision: Precision) -> Side:
    from retrieval.execution.precision import in_precision

    model = in_precision(_model(), precision)

    def encode(texts: Sequence[str]) -> np.ndarray:
        return np.asarray(model.encode(list(texts), show_progress_bar=False), np.float32)

    return Side(encode, precision)


def _engine(precision: Precision, *, packed: bool = True, own: bool = True) -> Side:
    from retrieval.encoders.sentence_transformer import SentenceTransformerEncoder

    encoder = SentenceTransformerEncoder(_model(), precision=precision, packed=packed, own=own)
    return Side(encoder.encode_passages, precision)


def _runtime(runtime: str, precision: Precision) -> Side:
    from retrieval.encoders import load_encoder
    from retrieval.errors import MissingExtraError

    try:
        encoder = load_encoder("embedded", runtime=runtime, precision=precision)
    except MissingExtraError as error:
        raise LeftOut(str(error)) from None
    return Side(encoder.encode_passages, precision)


def _fastembed() -> Side:
    from importlib import import_module

    from eval.benchmarks.plain_loops import exported_embedded
    from retrieval.encoders.embedded import embedded_folder
    from retrieval.errors import MissingExtraError
    from retrieval.runtimes.requirements import n_threads

    try:
        library, described = import_module("fastembed"), import_module("fastembed.common.model_description")
    except ImportError:
        raise LeftOut(
            "it is not installed: it asks for an older huggingface-hub, but runs with this one (--no-deps)"
        ) from None
    model = _model()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            shutil.copy(exported_embedded(model), folder / "model.onnx")
        except MissingExtraError as error:
            raise LeftOut(str(error)) from None
        for name in ("config.json", "special_tokens_map.json", "tokenizer.json"):
            shutil.copy(embedded_folder() / name, folder)
        settings = json.loads((embedded_folder() / "tokenizer_config.json").read_text())
        cut = {"model_max_length": model.max_seq_length, "max_length": model.max_seq_length}
        (folder / "tokenizer_config.json").write_text(json.dumps({**settings, **cut}))
        library.TextEmbedding.add_custom_model(
            model="embedded",
            pooling=described.PoolingType.MEAN,
            normalization=True,
            sources=described.ModelSource(hf="embedded"),
            dim=model.get_embedding_dimension(),
            model_file="model.onnx",
        )
        loaded = library.TextEmbedding("embedded", specific_model_path=str(folder), threads=n_threads())
        loaded.model  # noqa: B018  # the network is read before the folder goes
    return Side(lambda texts: np.array(list(loaded.embed(list(texts))), np.float32), "fp32")


def _plain(runtime: str, precision: Precision) -> Side:
    from eval.benchmarks.plain_loops import exported_embedded, onnx_states, openvino_states, plain_loop
    from retrieval.encoders.embedded import embedded_folder
    from retrieval.errors import MissingExtraError

    model = _model()
    try:
        network = exported_embedded(model)
        states = onnx_states(network) if runtime == "onnx" else openvino_states(network, _OPENVINO[precision])
    except MissingExtraError as error:
        raise LeftOut(str(error)) from None
    return Side(plain_loop(embedded_folder(), model.max_seq_length, states), precision)


def _model() -> Any:
    from sentence_transformers import SentenceTransformer

    from retrieval.encoders.embedded import embedded_folder

    return SentenceTransformer(str(embedded_folder()), device="cpu")


def _with_bf16(make: Callable[[], Side]) -> Callable[[], Side]:
    def checked() -> Side:
        if not processor_has_bf16():
            raise LeftOut(NO_BF16)
        return make()

    return checked


SIDES: Mapping[str, Callable[[], Side]] = {
    REFERENCE: lambda: _library("fp32"),
    "sentence-transformers, bf16": _with_bf16(lambda: _library("bf16")),
    "ONNX Runtime, fp32": lambda: _plain("onnx", "fp32"),
    "OpenVINO, fp32": lambda: _plain("openvino", "fp32"),
    "OpenVINO, bf16": _with_bf16(lambda: _plain("openvino", "bf16")),
    "fastembed": _fastembed,
    "engine, fp32": lambda: _engine("fp32"),
    "engine, fp32, padded": lambda: _engine("fp32", packed=False, own=False),
    "engine, bf16": _with_bf16(lambda: _engine("bf16")),
    "engine, bf16, padded": _with_bf16(lambda: _engine("bf16", packed=False, own=False)),
    "engine, ONNX Runtime, fp32": lambda: _runtime("onnx", "fp32"),
    "engine, OpenVINO, fp32": lambda: _runtime("openvino", "fp32"),
    "engine, OpenVINO, bf16": _with_bf16(lambda: _runtime("openvino", "bf16")),
}
"""Sides by name, each loaded when it is called."""


def load_sides(makers: Mapping[str, Callable[[], Side]] = SIDES) -> tuple[dict[str, Side], dict[str, str]]:
    """Return the sides that can take part, and of the others why they cannot, each by name."""
    found: dict[str, Side] = {}
    missing: dict[str, str] = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except LeftOut as reason:
            missing[name] = str(reason)
    return found, missing
