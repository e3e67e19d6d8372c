"""A model's tokenizer out of its files, without its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.errors import MeasureError

if TYPE_CHECKING:
    from retrieval.encoders.tokenization import FastTokenizer

_NO_LIMIT = 10**6
"""Tokenizers without a limit say so by some very large number."""


@dataclass(frozen=True)
class ModelTokenizer:
    """A model's tokenizer without its weights.

    Attributes:
        name: of the model.
        tokenizer: cuts nothing.
        unknown: id of the token that stands for what the vocabulary does not know; None where there is none (bytes).
        size: of the vocabulary.
        max_tokens: that the model reads, special ones included; None where its files do not say.
    """

    name: str
    tokenizer: FastTokenizer
    unknown: int | None
    size: int
    max_tokens: int | None


def load_tokenizer(model: str = "embedded", *, max_tokens: int | None = None) -> ModelTokenizer:
    """Load a model's tokenizer; its weights are not read and need not be there.

    Args:
        model: "embedded", a folder with `tokenizer.json` (or an older vocabulary that transformers converts), or a name
            on the model hub.
        max_tokens: that the model reads; by default what `sentence_bert_config.json` or `tokenizer_config.json` says.

    Raises:
        EncoderError: there is no such model.
        MeasureError: it has no tokenizer that can be read, or `max_tokens` leaves no room for text.
    """
    from retrieval.encoders.embedded import EMBEDDED, embedded_folder
    from retrieval.encoders.model_files import model_folder
    from retrieval.encoders.tokenization import FastTokenizer, UnknownTokenizerError

    folder = embedded_folder() if model == EMBEDDED else model_folder(model)
    backend = _backend(folder, model)
    described = json.loads(backend.to_str())["model"]
    token = described.get("unk_token")
    unknown = described.get("unk_id") if token is None else backend.token_to_id(token)
    try:
        tokenizer = FastTokenizer(backend)
    except UnknownTokenizerError as error:
        raise MeasureError(f"model {model!r}: {error}") from None
    limit = _limit(folder) if max_tokens is None else max_tokens
    if limit is not None and limit <= tokenizer.n_special:
        raise MeasureError(f"max_tokens is {limit}, but special tokens alone take {tokenizer.n_special}")
    return ModelTokenizer(model, tokenizer, unknown, backend.get_vocab_size(), limit)


def _backend(folder: Path, name: str) -> Any:
    from tokenizers import Tokenizer

    files = [folder / "tokenizer.json", *sorted(folder.glob("*/tokenizer.json"))]
    file = next((file for file in files if file.is_file()), None)
    try:
        return Tokenizer.from_file(str(file)) if file is not None else _converted(folder)
    except Exception as error:
        # Whatever is wrong with somebody else's files surfaces as nearly any exception of two libraries.
        reason = " ".join(str(error).split())[:200]
        raise MeasureError(
            f"model {name!r} has no tokenizer that can be read ({type(error).__name__}: {reason}); give a folder with "
            "tokenizer.json"
        ) from None


def _converted(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False).backend_tokenizer


def _limit(folder: Path) -> int | None:
    """Return how many tokens a model reads, as its files say."""
    for file, key in (("sentence_bert_config.json", "max_seq_length"), ("tokenizer_config.json", "model_max_length")):
        for place in (folder / file, *sorted(folder.glob(f"*/{file}"))):
            if not place.is_file():
                continue
            try:
                value = json.loads(place.read_text(encoding="utf-8")).get(key)
            except (OSError, ValueError, AttributeError):
                continue  # what it says of other things has no part in this
            if isinstance(value, (int, float)) and 0 < value < _NO_LIMIT:
                return int(value)
    return None
