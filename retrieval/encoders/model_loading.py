"""Loading a sentence-transformers model from a folder: safely, quietly, with settings that belong to its identity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrieval.encoders.model_files import model_folder
from retrieval.encoders.model_identity import tokenizer_digest, weights_digest
from retrieval.encoders.own_modules import open_sentence_transformer, refuse_sparse
from retrieval.encoders.sentence_transformer import Precision, SentenceTransformerEncoder, dtype_of
from retrieval.encoders.weights import remembered_digest
from retrieval.errors import EncoderError


def load_sentence_transformer(
    name_or_path: str | Path,
    *,
    source: str | None = None,
    prompts: Mapping[str, str] | None = None,
    max_tokens: int | None = None,
    truncate_dim: int | None = None,
    precision: Precision | None = "fp32",
    batch_tokens: int | None = None,
    device: str | None = None,
) -> SentenceTransformerEncoder:
    """Load a model from a folder or by its name on the model hub.

    Args:
        name_or_path: see `model_files.model_folder`.
        source: what to load it from again; by default the absolute path, or the name.
        prompts: "query" and "document" prompts instead of the model's own.
        max_tokens: read that many tokens instead of what the model's configuration says.
        truncate_dim: keep the first components of each vector, for models trained so that they suffice.
        precision: "fp32", "bf16" or "fp16"; None keeps what the file has.
        batch_tokens: see `SentenceTransformerEncoder`.
        device: "cpu", "cuda", …; by default a GPU when there is one.

    Raises:
        EncoderError: there is no such model, it cannot be loaded safely, or the settings do not fit it.
    """
    folder = model_folder(str(name_or_path))
    refuse_sparse(folder)
    if source is None:
        source = str(folder) if Path(name_or_path).expanduser().is_dir() else str(name_or_path)
    dtype = dtype_of(precision) if precision is not None else None
    model = _load(folder, source, prompts, truncate_dim, device)
    if max_tokens is not None:
        set_max_tokens(model, max_tokens)
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".json", ".txt", ".model"))
    digests = {
        "weights": remembered_digest("tensors", files, lambda: weights_digest(model)),
        "tokenizer": remembered_digest("tokenizer", files, lambda: tokenizer_digest(model)),
    }
    if dtype is not None:
        model.to(dtype)  # after the weights have been hashed
    return SentenceTransformerEncoder(
        model, source=source, precision=precision, batch_tokens=batch_tokens, digests=digests
    )


def _load(
    folder: Path, source: str, prompts: Mapping[str, str] | None, truncate_dim: int | None, device: str | None
) -> Any:
    from transformers.utils import logging as transformers_logging

    from retrieval.models.published_folder import readable_folder
    from retrieval.models.registration import register_backbones

    register_backbones()
    showed_progress = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with readable_folder(folder) as readable:
            return open_sentence_transformer(
                readable,
                device=device,
                prompts=dict(prompts) if prompts is not None else None,
                truncate_dim=truncate_dim,
                model_kwargs={"use_safetensors": True},
            )
    except EncoderError as error:
        raise EncoderError(f"model {source!r} cannot be loaded: {error}") from error
    except Exception as error:
        # Whatever is wrong with a folder of somebody else's surfaces as nearly any exception of three libraries.
        reason = " ".join(str(error).split())[:300]
        raise EncoderError(f"model {source!r} cannot be loaded: {type(error).__name__}: {reason}") from error
    finally:
        if showed_progress:
            transformers_logging.enable_progress_bar()


def set_max_tokens(model: Any, max_tokens: int) -> None:
    """Make a sentence-transformers model read that many tokens.

    Raises:
        EncoderError: it has not as many positions.
    """
    if max_tokens == model.max_seq_length:
        return
    positions = getattr(model.config, "max_position_embeddings", None) or -1
    embeddings = getattr(getattr(model.transformers_model, "embeddings", None), "position_embeddings", None)
    # RoBERTa and its kin count positions from behind the padding token's.
    padding = getattr(embeddings, "padding_idx", None)
    reserved = 0 if padding is None else padding + 1
    if max_tokens < 1 or 0 < positions - reserved < max_tokens:
        raise EncoderError(f"max_tokens is {max_tokens}, but this model reads 1 to {positions - reserved} tokens")
    model.max_seq_length = max_tokens
