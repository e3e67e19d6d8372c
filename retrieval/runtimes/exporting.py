"""A model's network as an ONNX file, exported on this machine by PyTorch and kept in the user's cache directory.

Only the transformer is exported: token ids go in, the states of all tokens come out, for any number of texts of any
length. Pooling and whatever stands behind it are computed by `heads`.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    """Return the ONNX file of a model's network, exporting it if need be.

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
    import torch
    import transformers

    exporter = required("onnxscript", extra)
    made_of = {
        "format": _FORMAT,
        "kind": "onnx",
        "weights": weights,
        "modules": modules,
        "inputs": input_names,
        **{library.__name__: version_of(library) for library in (torch, transformers, exporter)},
    }
    return kept_folder(made_of, lambda folder: _export(model[0].model, input_names, folder / NETWORK)) / NETWORK


def _export(network: Any, input_names: list[str], path: Path) -> None:
    import torch

    class States(torch.nn.Module):
        """The network as a function from tensors to one tensor."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *values: Any) -> Any:
            return self.network(**dict(zip(input_names, values, strict=True))).last_hidden_state

    # Sides of an example are not to be 0 or 1, which the exporter takes for constants.
    example = {name: torch.zeros((2, 7), dtype=torch.int64) for name in input_names}
    example["attention_mask"][:, :5] = 1
    sides = {0: torch.export.Dim("texts"), 1: torch.export.Dim("length")}
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    try:
        with quiet():
            torch.onnx.export(
                States().eval(),
                tuple(example.values()),
                path,
                input_names=input_names,
                output_names=["states"],
                dynamic_shapes=(tuple(sides for _ in input_names),),
                dynamo=True,
                external_data=size > _ONE_FILE,
                verbose=False,
            )
    except Exception as error:  # the exporter raises whatever its many passes raise
        reason = " ".join(str(error).split())[:200]
        raise EncoderError(f"PyTorch cannot export this network ({type(error).__name__}: {reason})") from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what exporters and quantisers say to the terminal from it."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
