"""Opening sentence-transformers folders whose modules are of this package.

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
_CLASSES = {
    "retrieval.models.pooling.convolution.Convolution": ("retrieval.models.pooling.convolution", "Convolution"),
    "retrieval.models.pooling.max_pool_bert.MaxPoolBert": ("retrieval.models.pooling.max_pool_bert", "MaxPoolBert"),
    "retrieval.models.pooling.scalar_mix.ScalarMix": ("retrieval.models.pooling.scalar_mix", "ScalarMix"),
    "retrieval.models.pooling.weighted_cls.WeightedCls": ("retrieval.models.pooling.weighted_cls", "WeightedCls"),
}
"""Module classes by their name in a saved `modules.json`, and where they are now."""


def module_classes(folder: Path) -> dict[str, type]:
    """Return the classes of this package that a model's `modules.json` names, by these names.

    Raises:
        EncoderError: it names one of this package that is not in the table, or it is damaged.
    """
    classes: dict[str, type] = {}
    for name in _named(folder):
        if name in _CLASSES:
            place, class_name = _CLASSES[name]
            classes[name] = getattr(importlib.import_module(place), class_name)
        elif name.startswith(_OURS):
            raise EncoderError(
                f"model {folder} needs the module {name}, which this version does not have; its modules are "
                f"{', '.join(_CLASSES)}"
            )
    return classes


def open_sentence_transformer(folder: Path, **settings: Any) -> SentenceTransformer:
    """Return the model of a folder, without remote code and without a network.

    Args:
        folder: of a sentence-transformers or a transformers model.
        **settings: for `SentenceTransformer`.

    Raises:
        EncoderError: `modules.json` names a module of this package that there is none of.
        Exception: whatever the libraries raise for a folder that they cannot load.
    """
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer._load_with_module_classes(
        str(folder), module_classes(folder), trust_remote_code=False, local_files_only=True, **settings
    )


def _named(folder: Path) -> list[str]:
    try:
        return [str(module["type"]) for module in json.loads((folder / "modules.json").read_text(encoding="utf-8"))]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EncoderError(f"model {folder} cannot be read: modules.json is damaged ({error})") from None
