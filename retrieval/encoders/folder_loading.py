"""From a model's name or path to its encoder: without the model's library where its folder says all, else with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrieval.encoders.base import Encoder
from retrieval.encoders.model_files import model_folder


def load_folder(name_or_path: str | Path, *, source: str | None = None, **settings: Any) -> Encoder:
    """Load a model from a folder or by its name on the model hub.

    Args:
        name_or_path: see `model_files.model_folder`.
        source: what to load it from again; by default the absolute path, or the name.
        **settings: see `model_loading.load_sentence_transformer`.

    Raises:
        EncoderError: there is no such model, it cannot be loaded safely, or the settings do not fit it.
    """
    folder = model_folder(str(name_or_path))
    if source is None:
        source = str(folder) if Path(name_or_path).expanduser().is_dir() else str(name_or_path)
    deferred = _without_library(folder, source, settings)
    if deferred is not None:
        return deferred
    from retrieval.encoders.model_loading import load_sentence_transformer

    return load_sentence_transformer(folder, source=source, **settings)


def _without_library(folder: Path, source: str, settings: Mapping[str, Any]) -> Encoder | None:
    """Return an encoder that needs no library to begin with; None where only the library can serve."""
    if not _leave_execution_open(settings):
        return None
    from retrieval.encoders.known_folders import read_known_folder

    model = read_known_folder(folder)
    if model is None or not _are_valid(settings, model.shape.max_position_embeddings, model.dimension):
        return None
    from retrieval.encoders.deferred import DeferredEncoder
    from retrieval.encoders.known_tokenizers import KnownTokenizer
    from retrieval.encoders.tokenization import UnknownTokenizerError
    from retrieval.encoders.weights import described_files, remembered_digest
    from retrieval.runtimes.bert_numpy import NumpyBert

    try:
        tokenizer = KnownTokenizer(folder)
    except UnknownTokenizerError:
        return None
    files = described_files(folder)

    def load() -> Any:
        from retrieval.encoders.model_loading import load_sentence_transformer

        return load_sentence_transformer(folder, source=source, **settings)

    return DeferredEncoder(
        model,
        tokenizer,
        NumpyBert(model.shape, model.tensors, model.head),
        {
            "weights": remembered_digest("tensors", files, model.weights_digest),
            "tokenizer": remembered_digest("tokenizer", files, tokenizer.digest),
        },
        load,
        source=source,
        **{name: settings.get(name) for name in ("prompts", "max_tokens", "truncate_dim")},
        precision=settings.get("precision", "auto"),
        device=settings.get("device"),
    )


def _leave_execution_open(settings: Mapping[str, Any]) -> bool:
    """Tell whether settings ask for no precision, device, batches or pooling that only the library has."""
    return (
        settings.get("precision", "auto") in (None, "fp32", "auto")
        and settings.get("device") in (None, "cpu")
        and settings.get("batch_tokens") is None
        and all(settings.get(name) is None for name in ("pooling", "runtime", "calibration"))
    )


def _are_valid(settings: Mapping[str, Any], positions: int, dimension: int) -> bool:
    """Tell whether settings are what a model can do; where not, the library's path says why."""
    from retrieval.encoders.known_folders import SPECIAL_TOKENS

    prompts, max_tokens, truncated = (settings.get(name) for name in ("prompts", "max_tokens", "truncate_dim"))
    return (
        (prompts is None or (isinstance(prompts, Mapping) and all(isinstance(text, str) for text in prompts.values())))
        and (max_tokens is None or (type(max_tokens) is int and SPECIAL_TOKENS < max_tokens <= positions))
        and (truncated is None or (type(truncated) is int and 0 < truncated <= dimension))
    )
