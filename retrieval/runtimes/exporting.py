"""A model's network as an ONNX file, exported on this machine by PyTorch and kept in the user's cache directory.

Of an encoder only the transformer is exported: token ids go in, the states of all tokens come out, for any number of
texts of any length. Pooling and whatever stands behind it are computed by `heads`. A classifier is exported as a whole.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from retrieval.errors import EncoderError
from retrieval.runtimes.kept_folders import kept_folder
from retrieval.runtimes.requirements import required, version_of

NETWORK = "network.onnx"
"""Name of the file; weights beyond what one file can hold lie beside it."""

_FORMAT = 1
"""Raised when the export changes in kind."""

_ONE_FILE = 1_500_000_000
"""Bytes of weights that go into the file itself; a file of this kind ends at 2 GiB."""


def exported_network(model: Any, weights: str, modules: list[str], input_names: list[str], extra: str) -> Path:
    """Return the ONNX file of an encoder's network, from token ids to "states", exporting it if need be.

    Args:
        model: a `SentenceTransformer` in fp32 on the processor, whose first module is a `Transformer`.
        weights: digest of its weights.
        modules: what its modules are, as its identity has it.
        input_names: "input_ids", "attention_mask" and, where it reads them, "token_type_ids".
        extra: the runtime that asks, for messages.

    Raises:
        MissingExtraError: a package is missing.
        EncoderError: PyTorch cannot export the network, or the cache cannot be written.
    """
    decided_by = {"kind": "onnx", "weights": weights, "modules": modules}
    return _kept(_Graph(model[0].model, input_names, "last_hidden_state", "states"), decided_by, extra)


def exported_classifier(model: Any, weights: str, input_names: list[str], extra: str) -> Path:
    """Return the ONNX file of a sequence classifier, from token ids to "logits", exporting it if need be.

    Args:
        model: of transformers, for sequence classification, in fp32 on the processor.
        weights: digest of its weights.
        input_names: as in `exported_network`.
        extra: as in `exported_network`.

    Raises:
        MissingExtraError: a package is missing.
        EncoderError: PyTorch cannot export the network, or the cache cannot be written.
    """
    decided_by = {"kind": "onnx classifier", "weights": weights, "network": _settings(model)}
    return _kept(_Graph(model, input_names, "logits", "logits"), decided_by, extra)


class _Graph(NamedTuple):
    """What is exported.

    Attributes:
        network: of transformers.
        input_names: that it is called with.
        wanted: what of its output.
        output_name: what that is called in the file.
    """

    network: Any
    input_names: list[str]
    wanted: str
    output_name: str


def _settings(model: Any) -> dict[str, Any]:
    """Return everything beside its weights that a network is built from, where it was loaded from left out."""
    config: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=False))
    config.pop("_name_or_path", None)
    return {"class": type(model).__name__, **config}


def _kept(graph: _Graph, decided_by: Mapping[str, Any], extra: str) -> Path:
    """Return the file of a graph; the settings that decide it, the libraries aside, are the caller's to name."""
    import torch
    import transformers

    exporter, onnx = required("onnxscript", extra), required("onnx", extra)
    made_of = {
        "format": _FORMAT,
        **decided_by,
        "inputs": graph.input_names,
        **{library.__name__: version_of(library) for library in (torch, transformers, exporter)},
    }

    def make(folder: Path) -> None:
        _export(graph, folder / NETWORK)
        _forget_shapes_of_weights(onnx, folder / NETWORK)

    return kept_folder(made_of, make) / NETWORK


def _export(graph: _Graph, path: Path) -> None:
    import torch

    network, input_names = graph.network, graph.input_names

    class Exported(torch.nn.Module):
        """The network as a function from tensors to one tensor."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *values: Any) -> Any:
            return getattr(self.network(**dict(zip(input_names, values, strict=True))), graph.wanted)

    # Sides of an example are not to be 0 or 1, which the exporter takes for constants.
    example = {name: torch.zeros((2, 7), dtype=torch.int64) for name in input_names}
    example["attention_mask"][:, :5] = 1
    sides = {0: torch.export.Dim("texts"), 1: torch.export.Dim("length")}
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    try:
        with quiet():
            torch.onnx.export(
                Exported().eval(),
                tuple(example.values()),
                path,
                input_names=input_names,
                output_names=[graph.output_name],
                dynamic_shapes=(tuple(sides for _ in input_names),),
                dynamo=True,
                external_data=size > _ONE_FILE,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever its many passes raise
        cause = error.__cause__ or error  # what it says itself is advice to the network's author, at length
        reason = " ".join(str(cause).split())[:200]
        raise EncoderError(
            f"PyTorch cannot export this network ({type(cause).__name__}: {reason}), but can run it: leave runtime out"
        ) from error


def _forget_shapes_of_weights(onnx: Any, path: Path) -> None:
    """Remove from a file what the exporter notes of the shapes of weights, which say it themselves.

    ONNX Runtime's quantiser turns the weights of `Gemm` round, leaves these notes as they are, and then stumbles over
    them.
    """
    model = onnx.load(path, load_external_data=False)
    weights = {weight.name for weight in model.graph.initializer}
    others = [value for value in model.graph.value_info if value.name not in weights]
    del model.graph.value_info[:]
    model.graph.value_info.extend(others)
    onnx.save(model, path)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters and quantisers say to the terminal from it."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        said = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
