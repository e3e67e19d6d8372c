"""The published NeoBERT checkpoint, read without the code that it points to.

Its `config.json` says `"model_type": "neobert"` and names Python files beside it (`auto_map`), which need xformers.
Parameter names are kept as they are; the settings lose what points to code.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrieval.errors import EncoderError
from retrieval.models.neobert.configuration import NeoBertConfig
from retrieval.models.published_folder import parameter_shapes, read_settings

_COPIED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "norm_eps",
    "max_length",
    "pad_token_id",
    "classifier_dropout",
    "embedding_init_range",
    "decoder_init_range",
    "id2label",
    "label2id",
    "problem_type",
)
_REQUIRED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "norm_eps", "max_length")
_FIXED = {"hidden_act": "swiglu", "rms_norm": True, "rope": True, "ngpt": False, "attention_space": "real"}
"""Settings of the training code that the published model has so; the network here has no others."""


def is_published(folder: Path) -> bool:
    """Tell whether a folder holds a published NeoBERT, whose settings point to code."""
    settings = read_settings(folder)
    return settings.get("model_type") == NeoBertConfig.model_type and "auto_map" in settings


def published_config(folder: Path) -> NeoBertConfig:
    """Return the settings of a published checkpoint.

    Args:
        folder: with `config.json` and `model.safetensors`.

    Raises:
        EncoderError: it is no such checkpoint, a setting is missing, one asks for another network, or it has no
            safetensors.
    """
    if not is_published(folder):
        raise EncoderError(
            f"{folder} is no published NeoBERT checkpoint: its config.json needs model_type 'neobert' and an auto_map"
        )
    settings = read_settings(folder)
    missing = [name for name in _REQUIRED if name not in settings]
    if missing:
        raise EncoderError(f"config.json of {folder} lacks {', '.join(missing)}")
    for name, value in _FIXED.items():
        found = settings.get(name, value)
        if (found.lower() if isinstance(found, str) else found) != value:
            raise EncoderError(f"config.json of {folder} says {name} {settings[name]!r}; this network has {value!r}")
    labels = [shape[0] for name, shape in parameter_shapes(folder).items() if name == "classifier.weight"]
    heads = {"num_labels": labels[0]} if labels and "id2label" not in settings else {}
    copied = {name: settings[name] for name in _COPIED if settings.get(name) is not None}
    return NeoBertConfig(**copied, **heads)


def load_published(
    folder: str | Path,
    model_class: Any = None,
    *,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    **settings: Any,
) -> Any:
    """Load a published checkpoint into a model of ours.

    Args:
        folder: see `published_config`. Parameter names may be bare or begin with "model.".
        model_class: `NeoBertModel` by default; or one of the classes with a head.
        allow_missing: see `StrictPreTrainedModel.from_pretrained`.
        allow_unexpected: see there.
        **settings: for `from_pretrained`, such as `dtype`.

    Raises:
        EncoderError: see `published_config`; or parameter names do not fit.
    """
    from retrieval.models.neobert.modeling import NeoBertModel

    return (model_class or NeoBertModel).from_pretrained(
        folder,
        config=published_config(Path(folder)),
        allow_missing=allow_missing,
        allow_unexpected=allow_unexpected,
        **settings,
    )
