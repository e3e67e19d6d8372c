"""Folders of ranking networks: settings as JSON, weights as safetensors, the tokenizer, and the backbone's shape.

| file | what it holds |
| --- | --- |
| `reranker.json` | kind, format and settings; written last |
| `model.safetensors` | every parameter of the network |
| `config.json` | the backbone's configuration, where the network has one |
| `tokenizer.json` … | the tokenizer, as transformers saves it |
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from torch import Tensor, nn

from indexes.storage import replace_file
from retrieval.errors import RerankerError
from retrieval.rerankers.model_loading import SETTINGS_FILE, quiet_transformers, read_json

WEIGHTS_FILE = "model.safetensors"
FORMAT = 1

_SHOWN = 12


class NetworkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the settings of networks: what decides their scores beside weights and tokenizer."""


_Settings = TypeVar("_Settings", bound=NetworkSettings)


def save_network(
    folder: str | Path,
    network: nn.Module,
    *,
    kind: str,
    settings: NetworkSettings,
    tokenizer: Any,
    config: Any = None,
) -> None:
    """Write a network.

    Args:
        folder: made where it is missing.
        network: whose parameters are written.
        kind: of the network.
        settings: of the network.
        tokenizer: of transformers.
        config: of its backbone, where it has one.
    """
    from safetensors.torch import save_model

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    with quiet_transformers():
        tokenizer.save_pretrained(place)
        if config is not None:
            config.save_pretrained(place)
    save_model(network, str(place / WEIGHTS_FILE))
    stored = {"kind": kind, "format": FORMAT, "settings": msgspec.to_builtins(settings)}
    replace_file(place / SETTINGS_FILE, json.dumps(stored, indent=2).encode() + b"\n")


def read_settings(folder: Path, kind: str, settings_type: type[_Settings]) -> _Settings:
    """Return the settings of a folder.

    Raises:
        RerankerError: it holds no network of this kind, or its settings are damaged or of another version.
    """
    stored = read_json(folder / SETTINGS_FILE)
    found = stored.get("kind")
    if found != kind:
        says = f"is of kind {found!r}" if found else f"has no {SETTINGS_FILE} that says so"
        raise RerankerError(f"model {folder} holds no network of kind {kind!r}: it {says}")
    if stored.get("format") != FORMAT:
        raise RerankerError(f"model {folder} has format {stored.get('format')!r}, this version reads {FORMAT}")
    try:
        return msgspec.convert(stored.get("settings"), settings_type)
    except msgspec.ValidationError as error:
        fault = str(error).replace("`", "")
        raise RerankerError(f"model {folder} cannot be read: {SETTINGS_FILE} is damaged ({fault})") from None


def read_tokenizer(folder: Path) -> Any:
    """Return the tokenizer of a folder.

    Raises:
        RerankerError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_transformers():
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # nearly any exception of two libraries
        reason = " ".join(str(error).split())[:300]
        raise RerankerError(f"the tokenizer of {folder} cannot be read: {type(error).__name__}: {reason}") from None


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Return the tensors of a folder's safetensors files by name.

    Raises:
        RerankerError: there are none, or they cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = sorted(folder.glob("model*.safetensors"))
    if not files:
        raise RerankerError(f"model {folder} has no {WEIGHTS_FILE}; other formats can run code when they are read")
    tensors: dict[str, Tensor] = {}
    for path in files:
        try:
            tensors.update(load_file(path))
        except (SafetensorError, OSError) as error:
            raise RerankerError(f"the weights {path} cannot be read: {error}") from None
    return tensors


def set_weights(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    """Give a network its parameters, each by its name.

    Args:
        network: changed in place.
        tensors: by name; of names that share one tensor, any.
        name: what the model is called, for the message.

    Raises:
        RerankerError: names are missing or unexpected, or a shape is another one; the message lists them.
    """
    wanted = network.state_dict()
    shared = {_place(tensor) for key, tensor in wanted.items() if key in tensors}
    shapes = [key for key in wanted.keys() & tensors.keys() if wanted[key].shape != tensors[key].shape]
    faults = {
        "missing": [key for key in wanted if key not in tensors and _place(wanted[key]) not in shared],
        "unexpected": [key for key in tensors if key not in wanted],
        "of another shape": [f"{key} {tuple(tensors[key].shape)}, not {tuple(wanted[key].shape)}" for key in shapes],
    }
    listed = [f"{fault}: {_listed(sorted(keys))}" for fault, keys in faults.items() if keys]
    if listed:
        raise RerankerError(f"the weights of {name} do not fit {type(network).__name__}; {'; '.join(listed)}")
    network.load_state_dict(dict(tensors), strict=False)


def _place(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    return tensor.data_ptr(), tuple(tensor.shape)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
