"""Released M2-BERT checkpoints, read without the code that they point to.

Their `config.json` says `"model_type": "bert"` or `"m2_bert"`. Weights are read from safetensors only; those that were
released as a pickle have to be converted where that is safe. Besides the parameters they hold numbers that follow from
the settings, and the filters' shared frequencies under several names; these are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from retrieval.errors import EncoderError
from retrieval.models.monarch_mixer.configuration import MonarchMixerConfig
from retrieval.models.published_folder import parameter_shapes, read_settings

_COPIED = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "intermediate_size",
    "max_position_embeddings",
    "long_conv_l_max",
    "residual_long_conv",
    "monarch_mlp_nblocks",
    "hyena_emb_dim",
    "hyena_filter_order",
    "hyena_w",
    "hyena_w_mod",
    "pool_all",
    "hidden_act",
    "hidden_dropout_prob",
    "type_vocab_size",
    "initializer_range",
    "layer_norm_eps",
    "pad_token_id",
    "classifier_dropout",
)
_REQUIRED = ("hidden_size", "num_hidden_layers", "intermediate_size", "long_conv_l_max", "hyena_filter_order")
_FIXED = {
    "use_glu_mlp": True,
    "use_monarch_mlp": True,
    "use_positional_encodings": True,
    "bidirectional": True,
    "hyena_training_additions": False,
}
"""Settings of the released code that all released models share; the network here has no others."""


def is_published(folder: Path) -> bool:
    """Tell whether a folder holds a released Monarch Mixer checkpoint."""
    settings = read_settings(folder)
    return settings.get("model_type") in ("bert", "m2_bert") and "long_conv_l_max" in settings


def published_config(folder: Path) -> MonarchMixerConfig:
    """Return the settings of a released checkpoint.

    `mask_padding` is on, so that a text's vector does not depend on its batch. The released figures were measured with
    texts padded to the maximum length and padding read like words: for these, switch it off and pad so.

    Args:
        folder: with `config.json`.

    Raises:
        EncoderError: it is no such checkpoint, a setting is missing, or one asks for another network.
    """
    if not is_published(folder):
        raise EncoderError(
            f"{folder} is no released Monarch Mixer checkpoint: its config.json needs model_type 'bert' or 'm2_bert' "
            "and long_conv_l_max"
        )
    settings = read_settings(folder)
    missing = [name for name in _REQUIRED if name not in settings]
    if missing:
        raise EncoderError(f"config.json of {folder} lacks {', '.join(missing)}")
    for name, value in _FIXED.items():
        if settings.get(name, value) != value:
            raise EncoderError(f"config.json of {folder} says {name} {settings[name]!r}; this network has {value!r}")
    copied = {name: settings[name] for name in _COPIED if name in settings}
    return MonarchMixerConfig(**copied, architectures=settings.get("architectures"))


def load_published(
    folder: str | Path,
    model_class: Any = None,
    *,
    mask_padding: bool = True,
    allow_missing: Sequence[str] = (),
    allow_unexpected: Sequence[str] = (),
    **settings: Any,
) -> Any:
    """Load a released checkpoint into a model of ours.

    Args:
        folder: see `published_config`; with `model.safetensors`, whose names may begin with "bert." or "model.bert.".
        model_class: `MonarchMixerModel` by default; or one of the classes with a head.
        mask_padding: see `MonarchMixerConfig`.
        allow_missing: see `StrictPreTrainedModel.from_pretrained`.
        allow_unexpected: see there.
        **settings: for `from_pretrained`, such as `dtype`.

    Raises:
        EncoderError: see `published_config`; or there are no safetensors, or parameter names do not fit.
    """
    from retrieval.models.monarch_mixer.modeling import MonarchMixerModel

    config = published_config(Path(folder))
    config.mask_padding = mask_padding
    if any(name.startswith("model.") for name in parameter_shapes(Path(folder))):
        settings = {"key_mapping": {r"^model\.": ""}, **settings}
    return (model_class or MonarchMixerModel).from_pretrained(
        folder, config=config, allow_missing=allow_missing, allow_unexpected=allow_unexpected, **settings
    )
