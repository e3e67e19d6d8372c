"""A BERT with a longer table of positions: what learned positions have to offer for texts beyond their training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch

from retrieval.encoders.embedded import EMBEDDED
from retrieval.errors import EncoderError
from retrieval.training.builders import encoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Fill = Literal["repeated", "random", "new"]


def build_model(
    *,
    backbone: str = EMBEDDED,
    pooling: str = "",
    normalise: bool = False,
    allow_mismatch: bool = False,
    positions: int = 8192,
    fill: Fill = "repeated",
) -> SentenceTransformer:
    """Return a model to train.

    Args:
        backbone: "embedded" for the packaged MiniLM, a sentence-transformers folder with a BERT, or a BERT by path or
            name.
        pooling: see `builders.encoder`.
        normalise: see there.
        allow_mismatch: take a checkpoint whose parameters are not those of its configuration.
        positions: rows of the new table; more than the backbone has, except where all are new.
        fill: "repeated" continues the table with copies of itself, as M2-BERT was warm-started for 32,768 tokens
            (arXiv 2402.07440); "random" with normal random rows of the table's mean and standard deviation in each
            dimension; "new" draws all rows so, as if no position had been learned.

    Raises:
        EncoderError: there is no such model, it has no table of positions, or the table is longer already.
        TrainingError: the checkpoint's parameters do not match; the message lists them.
        RecipeError: there is no such pooling.
    """
    model = encoder.build_model(backbone=backbone, pooling=pooling, normalise=normalise, allow_mismatch=allow_mismatch)
    bert = model[0].model
    table = getattr(getattr(bert, "embeddings", None), "position_embeddings", None)
    if bert.config.model_type != "bert" or table is None:
        raise EncoderError(
            f"a longer table of positions is for BERT; {backbone!r} is of the type {bert.config.model_type!r}"
        )
    if positions < len(table.weight) and fill != "new":
        raise EncoderError(f"positions is {positions}, but {backbone!r} has {len(table.weight)} already; take more")
    set_positions(bert, longer_table(table.weight.detach(), positions, fill))
    model[0].tokenizer.model_max_length = positions
    model[0].max_seq_length = positions
    return model


def longer_table(table: torch.Tensor, positions: int, fill: Fill) -> torch.Tensor:
    """Return a table of `positions` rows, (positions, d), random numbers from torch's generator.

    Args:
        table: (n, d).
        positions: rows to have.
        fill: see `build_model`.
    """
    n, size = table.shape
    if fill == "repeated":
        return table.repeat(-(-positions // n), 1)[:positions]
    drawn = table.mean(dim=0) + table.std(dim=0) * torch.randn(positions, size, dtype=table.dtype)
    if fill == "random":
        drawn[:n] = table[:positions]
    return drawn


def set_positions(bert: Any, table: torch.Tensor) -> None:
    """Give a `transformers.BertModel` another table of positions, (positions, d)."""
    embeddings = bert.embeddings
    positions = len(table)
    embeddings.position_embeddings = torch.nn.Embedding.from_pretrained(table.clone(), freeze=False)
    embeddings.register_buffer("position_ids", torch.arange(positions)[None], persistent=False)
    embeddings.register_buffer("token_type_ids", torch.zeros((1, positions), dtype=torch.int64), persistent=False)
    bert.config.max_position_embeddings = positions
