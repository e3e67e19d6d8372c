"""Models with modules of this package, and which folders hold a sparse encoder, as their JSON says.

sentence-transformers asks for `trust_remote_code=True` before it imports a module class that is not its own, even one
that is installed. That consent would cover code in the model's folder as well. Here the classes of a fixed table, and
no others, are handed to it instead.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import EncoderError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

_OURS = "retrieval."
_CLASSES = frozenset(
    {
        "retrieval.models.pooling.convolution.Convolution",
        "retrieval.models.pooling.max_pool_bert.MaxPoolBert",
        "retrieval.models.pooling.scalar_mix.ScalarMix",
        "retrieval.models.pooling.weighted_cls.WeightedCls",
        "retrieval.models.ultra_high_dimensional.module.UltraHighDimensional",
    }
)
"""Module classes as a saved `modules.json` names them, by their place in this package."""

_SPARSE_MODULES = ("SpladePooling", "SparseAutoEncoder", "SparseStaticEmbedding", "UltraHighDimensional")


def own_module_classes(folder: Path) -> dict[str, type]:
    """Return the classes of this package that a model's `modules.json` names, by these names.

    Raises:
        EncoderError: it names one of this package that is not in the table.
    """
    classes: dict[str, type] = {}
    for module in _json(folder / "modules.json", []):
        name = str(module.get("type"))
        if not name.startswith(_OURS):
            continue
        if name not in _CLASSES:
            raise EncoderError(f"model {folder} needs the module {name}, which this version does not have; upgrade it")
        place, _, class_name = name.rpartition(".")
        classes[name] = getattr(importlib.import_module(place), class_name)
    return classes


def open_sentence_transformer(folder: Path, **settings: Any) -> SentenceTransformer:
    """Return the dense model of a folder, without remote code and without a network.

    Args:
        folder: of a sentence-transformers or a transformers model.
        **settings: for `SentenceTransformer`.

    Raises:
        EncoderError: `modules.json` names a module of this package that there is none of.
        Exception: whatever the libraries raise for a folder that they cannot load.
    """
    from sentence_transformers import SentenceTransformer

    model: SentenceTransformer = SentenceTransformer._load_with_module_classes(
        str(folder), own_module_classes(folder), trust_remote_code=False, local_files_only=True, **settings
    )
    return model


def is_sparse(folder: Path) -> bool:
    """Tell whether a folder holds a sparse encoder: by what it says, else by its modules, else by its head."""
    kind = _json(folder / "config_sentence_transformers.json", {}).get("model_type")
    if kind is not None:
        return bool(kind == "SparseEncoder")
    modules = _json(folder / "modules.json", [])
    if modules:
        return any(str(module.get("type")).endswith(_SPARSE_MODULES) for module in modules)
    architectures = _json(folder / "config.json", {}).get("architectures")
    return isinstance(architectures, list) and any(str(name).endswith("ForMaskedLM") for name in architectures)


def refuse_sparse(folder: Path) -> None:
    """Refuse a folder whose model says that it is sparse, where a dense one is wanted.

    Raises:
        EncoderError: with what to do.
    """
    if (folder / "modules.json").exists() and is_sparse(folder):
        raise EncoderError(
            f"model {folder} is a sparse encoder: load it with load_sparse_encoder(), or give it to a collection as "
            "sparse="
        )


def _json(path: Path, default: Any) -> Any:
    """Return what a JSON file holds if that is of the default's type; the default where there is no such file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return default
    except (OSError, ValueError) as error:
        raise EncoderError(f"model {path.parent} cannot be read: {path.name} is damaged ({error})") from None
    if not isinstance(content, type(default)):
        raise EncoderError(f"model {path.parent} cannot be read: {path.name} holds {content!r:.40}")
    return content
