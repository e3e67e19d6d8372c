"""Folders of pointwise rerankers as training writes them.

A folder holds what transformers saves of a classifier and its tokenizer, which sentence-transformers opens as a
`CrossEncoder`, and `reranker.json`: kind, format and the token budgets of training.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from indexes.storage import replace_file
from retrieval.errors import RerankerError
from retrieval.rerankers.model_loading import SETTINGS_FILE, quiet_transformers, read_json

_FORMAT = 1

_LOGIT_AS_IT_IS = {"activation_fn": "torch.nn.modules.linear.Identity"}
"""By which a `CrossEncoder` predicts the logit, not its logistic function: unbounded, as it was trained."""


def save_mono(folder: str | Path, model: Any, tokenizer: Any, *, query_tokens: int, max_tokens: int) -> None:
    """Write a pointwise reranker to a folder.

    Args:
        folder: made where it is missing.
        model: of transformers, for sequence classification.
        tokenizer: of transformers, a fast one; as saved, it reads `max_tokens`.
        query_tokens: of a query that are read, with the special tokens around it.
        max_tokens: of an input.
    """
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    model.config.sentence_transformers = dict(_LOGIT_AS_IT_IS)
    tokenizer.model_max_length = max_tokens
    with quiet_transformers():
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    settings = {"kind": "mono", "format": _FORMAT, "query_tokens": query_tokens, "max_tokens": max_tokens}
    replace_file(target / SETTINGS_FILE, json.dumps(settings, indent=2).encode() + b"\n")


def mono_budgets(folder: Path) -> tuple[int | None, int | None]:
    """Return the tokens of a query and of an input that a folder names; None twice where it is not one of `save_mono`.

    Raises:
        RerankerError: the folder's settings are of another version, or damaged.
    """
    stored = read_json(folder / SETTINGS_FILE)
    if stored.get("kind") != "mono":
        return None, None
    if stored.get("format") != _FORMAT:
        raise RerankerError(f"model {folder} has format {stored.get('format')!r}, this version reads {_FORMAT}")
    budgets = stored.get("query_tokens"), stored.get("max_tokens")
    if not all(isinstance(tokens, int) for tokens in budgets):
        raise RerankerError(f"model {folder} cannot be read: {SETTINGS_FILE} is damaged (budgets {budgets})")
    return budgets
