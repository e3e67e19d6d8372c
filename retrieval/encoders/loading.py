"""From what users write for an encoder to the encoder."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from retrieval.encoders.base import Encoder
from retrieval.errors import EncoderError

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

EncoderSpec: TypeAlias = "str | Path | Encoder | SentenceTransformer | None"
"""None or "embedded" for the packaged model; the name or path of a model; an encoder; a loaded model."""

_POOLING = re.compile(r"Pooling\(pooling_mode=(\w+)[,)]")

_SETTINGS = {
    "prompts",
    "pooling",
    "max_tokens",
    "truncate_dim",
    "precision",
    "batch_tokens",
    "device",
    "runtime",
    "calibration",
}


def load_encoder(specification: EncoderSpec = None, **settings: Any) -> Encoder:
    """Return the encoder that is meant.

    Args:
        specification: None or "embedded" for the model that comes with the package; the path of a sentence-transformers
            or a transformers model, or its name on the model hub; a `SentenceTransformer`; or an encoder, which is
            returned as it is.
        **settings: for a model that is loaded here: `prompts`, `pooling`, `max_tokens`, `truncate_dim`, `precision`,
            `batch_tokens`, `device`, `runtime`, `calibration`, as in `load_sentence_transformer`, which also says how a
            transformers model is pooled. Several devices, `device=["cuda:0", "cuda:1"]`, have a process each that
            encodes passages (`retrieval.encoders.parallel`).

    Raises:
        EncoderError: it is none of these, or it cannot be loaded.
    """
    unknown = sorted(set(settings) - _SETTINGS)
    if unknown:
        raise EncoderError(f"unknown encoder setting {unknown[0]!r}: one of {', '.join(sorted(_SETTINGS))}")
    if isinstance(settings.get("device"), (list, tuple)):
        return _on_devices(specification, **settings)
    if specification is None or specification == "embedded":
        from retrieval.encoders.embedded import load_embedded

        return load_embedded(**settings)
    if isinstance(specification, (str, Path)):
        from retrieval.encoders.folder_loading import load_folder

        return load_folder(specification, **settings)
    if _is_sentence_transformer(specification):
        from retrieval.encoders.sentence_transformer import SentenceTransformerEncoder

        return SentenceTransformerEncoder(specification, **_only(settings, {"precision", "batch_tokens"}))
    if isinstance(specification, type) or not isinstance(specification, Encoder):
        raise EncoderError(
            f"{specification!r:.100} is not an encoder: give 'embedded', the name or path of a sentence-transformers "
            "model, a SentenceTransformer, or a FunctionEncoder around a function of yours"
        )
    _only(settings, set())
    return specification


def reload_encoder(source: str, identity: Mapping[str, Any], **settings: Any) -> Encoder:
    """Load an encoder again with the settings that its recorded identity shows.

    Args:
        source: the encoder's `source`.
        identity: its recorded `identity()`; prompts, maximum length, dimension, and where the folder does not say it
            the pooling are taken from it.
        **settings: execution settings: `precision`, `batch_tokens`, `device`, `runtime`, `calibration`.

    Raises:
        EncoderError: it cannot be loaded any more. Whether it is still the same one is for the caller to check.
    """
    if identity.get("kind") == "sentence-transformers":
        prompts = {"query": identity.get("query_prompt", ""), "document": identity.get("passage_prompt", "")}
        settings = {"prompts": prompts, "truncate_dim": identity.get("dimension"), **settings}
        pooling = _pooling_of(source, identity)
        if pooling is not None:
            settings = {"pooling": pooling, **settings}
        if identity.get("max_tokens") is not None:
            settings = {"max_tokens": identity["max_tokens"], **settings}
    return load_encoder(source, **settings)


def _on_devices(specification: EncoderSpec, *, device: Sequence[str], **settings: Any) -> Encoder:
    """Return an encoder with a process on each device; the first one serves the calling process too."""
    from retrieval.encoders.parallel import ParallelEncoder

    if not device or not all(isinstance(each, str) for each in device):
        raise EncoderError(f"device={list(device)!r}: name at least one device, such as ['cuda:0', 'cuda:1']")
    if not (specification is None or isinstance(specification, (str, Path))):
        raise EncoderError(
            "a list of devices is for a model that is loaded on each of them; name it, or give its path, instead of a "
            "loaded one"
        )
    if settings.get("prompts") is not None:
        settings["prompts"] = dict(settings["prompts"])  # it travels to the processes
    if settings.get("precision", "auto") == "auto" and settings.get("runtime") in (None, "torch"):
        from retrieval.execution.precision import chosen_precision

        chosen = {chosen_precision(each) for each in device}
        settings["precision"] = chosen.pop() if len(chosen) == 1 else "fp32"  # one for all of them
    encoder = load_encoder(specification, device=device[0], **settings)
    if len(device) == 1:
        return encoder
    # By its source: a path that is relative to where this process is now would lead elsewhere later.
    return ParallelEncoder(encoder, device, partial(load_encoder, encoder.source, **settings))


def _pooling_of(source: str, identity: Mapping[str, Any]) -> str | None:
    """Return the pooling that an encoder was given when it was loaded; None where the model says it itself."""
    modules = identity.get("modules", [])
    described = _POOLING.match(modules[1]) if len(modules) == 2 else None  # a network and its pooling, nothing else
    if described is None or source == "embedded":
        return None
    from retrieval.encoders.model_files import has_modules, model_folder

    return None if has_modules(model_folder(source)) else described[1]


def _only(settings: Mapping[str, Any], allowed: set[str]) -> Mapping[str, Any]:
    refused = sorted(set(settings) - allowed)
    if refused:
        raise EncoderError(f"setting {refused[0]!r} belongs to the loading of a model; this one is loaded already")
    return settings


def _is_sentence_transformer(thing: object) -> bool:
    # By the names of its classes: asking the library would import it, which takes seconds.
    return any(
        f"{kind.__module__}.{kind.__name__}".startswith("sentence_transformers.")
        and kind.__name__ == "SentenceTransformer"
        for kind in type(thing).__mro__
    )
