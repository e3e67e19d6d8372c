"""From what users write for a sparse encoder to the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from retrieval.encoders.sparse import SparseEncoder
from retrieval.errors import EncoderError

if TYPE_CHECKING:
    from sentence_transformers import SparseEncoder as SparseModel

SparseEncoderSpec: TypeAlias = "str | Path | SparseEncoder | SparseModel"
"""The name or path of a sparse model; a sparse encoder; a loaded sentence-transformers `SparseEncoder`."""

_SETTINGS = {"prompts", "max_tokens", "precision", "batch_tokens", "device"}


def load_sparse_encoder(specification: SparseEncoderSpec, **settings: Any) -> SparseEncoder:
    """Return the sparse encoder that is meant.

    Args:
        specification: the path of a sparse sentence-transformers model (SPLADE, ultra-high-dimensional), or its name on
            the model hub; a sentence-transformers `SparseEncoder`; or a sparse encoder, which is returned as it is.
        **settings: for a model that is loaded here: `prompts`, `max_tokens`, `precision`, `batch_tokens`, `device`, as
            in `load_encoder`.

    Raises:
        EncoderError: it is none of these, or it cannot be loaded.
    """
    unknown = sorted(set(settings) - _SETTINGS)
    if unknown:
        raise EncoderError(f"unknown encoder setting {unknown[0]!r}: one of {', '.join(sorted(_SETTINGS))}")
    if isinstance(specification, (str, Path)):
        return _load_folder(specification, **settings)
    loaded = _is_sparse_model(specification)
    refused = sorted(set(settings) - ({"precision", "batch_tokens"} if loaded else set()))
    if refused:
        raise EncoderError(f"setting {refused[0]!r} belongs to the loading of a model; this one is loaded already")
    if loaded:
        from retrieval.encoders.sparse_transformer import SparseTransformerEncoder

        return SparseTransformerEncoder(specification, **settings)
    if isinstance(specification, type) or not isinstance(specification, SparseEncoder):
        raise EncoderError(
            f"{specification!r:.100} is not a sparse encoder: give the name or path of a sparse sentence-transformers "
            "model, a SparseEncoder, or a SparseFunctionEncoder around a function of yours"
        )
    return specification


def reload_sparse_encoder(source: str, identity: Mapping[str, Any]) -> SparseEncoder:
    """Load a sparse encoder again with the settings that its recorded identity shows.

    Args:
        source: the encoder's `source`.
        identity: its recorded `identity()`; prompts and maximum length are taken from it.

    Raises:
        EncoderError: it cannot be loaded any more. Whether it is still the same one is for the caller to check.
    """
    settings: dict[str, Any] = {
        "prompts": {"query": identity.get("query_prompt", ""), "document": identity.get("passage_prompt", "")}
    }
    if identity.get("max_tokens") is not None:
        settings["max_tokens"] = identity["max_tokens"]
    return load_sparse_encoder(source, **settings)


def _load_folder(
    name_or_path: str | Path,
    *,
    prompts: Mapping[str, str] | None = None,
    max_tokens: int | None = None,
    precision: Any = "fp32",
    batch_tokens: int | None = None,
    device: str | None = None,
) -> SparseEncoder:
    from retrieval.encoders.model_files import model_folder
    from retrieval.encoders.model_identity import tokenizer_digest, weights_digest
    from retrieval.encoders.model_loading import set_max_tokens
    from retrieval.encoders.own_modules import is_sparse
    from retrieval.encoders.sparse_transformer import SparseTransformerEncoder
    from retrieval.encoders.weights import described_files, remembered_digest
    from retrieval.execution.precision import check_precision, set_precision

    folder = model_folder(str(name_or_path))
    source = str(folder) if Path(name_or_path).expanduser().is_dir() else str(name_or_path)
    if not is_sparse(folder):
        raise EncoderError(f"model {source!r} is not a sparse encoder; load it with load_encoder()")
    check_precision(precision)
    model = _open_model(folder, source, prompts, device)
    if max_tokens is not None:
        set_max_tokens(model, max_tokens)
    files = described_files(folder)
    digests = {
        "weights": remembered_digest("tensors", files, lambda: weights_digest(model)),
        "tokenizer": remembered_digest("tokenizer", files, lambda: tokenizer_digest(model)),
    }
    set_precision(model, precision)  # after the weights have been hashed
    return SparseTransformerEncoder(
        model, source=source, precision=precision, batch_tokens=batch_tokens, digests=digests, own=True
    )


def _open_model(folder: Path, source: str, prompts: Mapping[str, str] | None, device: str | None) -> Any:
    from sentence_transformers import SparseEncoder as SparseModel
    from transformers.utils import logging as transformers_logging

    from retrieval.encoders.own_modules import own_module_classes
    from retrieval.models.registration import register_backbones

    register_backbones()
    showed_progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        return SparseModel._load_with_module_classes(
            str(folder),
            own_module_classes(folder),
            device=device,
            prompts=dict(prompts) if prompts is not None else None,
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
    except EncoderError:
        raise
    except Exception as error:
        # Whatever is wrong with a folder of somebody else's surfaces as nearly any exception of three libraries.
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(f"model {source!r} cannot be loaded: {type(error).__name__}: {reason}") from error
    finally:
        if showed_progress:
            transformers_logging.enable_progress_bar()


def _is_sparse_model(thing: object) -> bool:
    # By the names of its classes: asking the library would import it, which takes seconds.
    return any(
        f"{kind.__module__}.{kind.__name__}".startswith("sentence_transformers.") and kind.__name__ == "SparseEncoder"
        for kind in type(thing).__mro__
    )
