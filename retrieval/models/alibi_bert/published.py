"""Published jina-embeddings-v2 checkpoints, read without the code that they point to.

Their `config.json` says `"model_type": "bert"` and names Python files of another repository (`auto_map`). Loaded as
plain BERT they would get random feed-forward networks. Parameter names are kept as they are; only the settings are
rewritten. Which of the two published layouts it is, is read from the names of the parameters in the safetensors file.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrieval.errors import EncoderError
from retrieval.models.alibi_bert.configuration import FAMILIES, AlibiBertConfig
from retrieval.models.published_folder import parameter_shapes, read_settings

_COPIED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "feed_forward_type",
    "hidden_act",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "max_position_embeddings",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
    "pad_token_id",
    "classifier_dropout",
    "id2label",
    "label2id",
    "problem_type",
)
_REQUIRED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "feed_forward_type")
_UNKNOWN_FAMILY = "qk-devlin-norm"  # of the bilingual models; what it computes is not known here


def is_published(folder: Path) -> bool:
    """Tell whether a folder holds a published ALiBi checkpoint: a BERT by name, whose positions are "alibi"."""
    settings = read_settings(folder)
    return settings.get("model_type") == "bert" and settings.get("position_embedding_type") == "alibi"


def published_config(folder: Path) -> AlibiBertConfig:
    """Return the settings of a published checkpoint.

    Args:
        folder: with `config.json` and `model.safetensors`, in one file or in several with their index.

    Raises:
        EncoderError: it is no such checkpoint, a setting is missing, it has no safetensors, or it belongs to a family
            whose computation is not known.
    """
    if not is_published(folder):
        raise EncoderError(
            f"{folder} is no published ALiBi checkpoint: its config.json needs model_type 'bert' and "
            "position_embedding_type 'alibi'"
        )
    settings = read_settings(folder)
    missing = [name for name in _REQUIRED if name not in settings]
    if missing:
        raise EncoderError(f"config.json of {folder} lacks {', '.join(missing)}")
    if _UNKNOWN_FAMILY in json.dumps(settings.get("auto_map", {})):
        raise EncoderError(f"{folder} is of the family {_UNKNOWN_FAMILY!r}; known are {', '.join(FAMILIES)}")
    shapes = parameter_shapes(folder)
    second = any(".layer_norm_q." in name for name in shapes)
    labels = [shape[0] for name, shape in shapes.items() if name == "classifier.weight"]
    heads = {"num_labels": labels[0]} if labels and "id2label" not in settings else {}
    copied = {name: settings[name] for name in _COPIED if name in settings}
    return AlibiBertConfig(**copied, **heads, family=FAMILIES[second], architectures=settings.get("architectures"))


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
        folder: see `published_config`. Parameter names may be bare or begin with "bert.".
        model_class: `AlibiBertModel` by default; or one of the classes with a head.
        allow_missing: see `StrictPreTrainedModel.from_pretrained`.
        allow_unexpected: see there.
        **settings: for `from_pretrained`, such as `dtype`.

    Returns:
        The model, in evaluation mode. Saved with `save_pretrained` it has the model type "alibi_bert", which
        `retrieval.models.registration.register_backbones` makes known to transformers.

    Raises:
        EncoderError: see `published_config`; or parameter names do not fit.
    """
    from retrieval.models.alibi_bert.modeling import AlibiBertModel

    return (model_class or AlibiBertModel).from_pretrained(
        folder,
        config=published_config(Path(folder)),
        allow_missing=allow_missing,
        allow_unexpected=allow_unexpected,
        **settings,
    )
