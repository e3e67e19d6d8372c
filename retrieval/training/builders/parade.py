"""PARADE to train: an encoder that reads a query with each passage of a document, and an aggregator of their states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from retrieval.encoders.embedded import EMBEDDED
from retrieval.training.builders import encoder

if TYPE_CHECKING:
    from retrieval.models.rankers.parade import Parade


def build_model(
    *,
    backbone: str = EMBEDDED,
    aggregation: Literal["avg", "sum", "max", "attn", "cnn", "transformer"] = "transformer",
    words: int = 150,
    overlap: int = 50,
    passages: int = 8,
    max_tokens: int = 128,
    query_tokens: int = 64,
    layers: int = 2,
    positions: bool = True,
    random_weights: bool = False,
    allow_mismatch: bool = False,
) -> Parade:
    """Return a network to train; aggregator and scoring are drawn from torch's generator.

    Args:
        backbone: "embedded" for the packaged MiniLM, a sentence-transformers folder, or any transformers encoder by
            path or name; one that was trained to rank passages already is a better start (arXiv 2008.09093).
        aggregation: "avg", "sum", "max", "attn", "cnn" or "transformer"; see `retrieval.models.rankers.parade`.
        words: of a passage.
        overlap: words that a passage shares with the one before.
        passages: of a document at most.
        max_tokens: of an input.
        query_tokens: of a query that are read, the special tokens around it included.
        layers: of the aggregating transformer.
        positions: whether its passages know where they stand.
        random_weights: forget what the backbone has learned, keep its shape and tokenizer.
        allow_mismatch: take a checkpoint whose parameters are not those of its configuration.

    Raises:
        EncoderError: there is no such model.
        TrainingError: the checkpoint's parameters do not match; the message lists them.
        RecipeError: the backbone is causal, so that its first token reads nothing.
        RerankerError: the backbone has not as many positions, or a setting makes no sense.
    """
    from retrieval.models.rankers.parade import Parade, ParadeSettings

    transformer = encoder.build_model(
        backbone=backbone, pooling="cls", random_weights=random_weights, allow_mismatch=allow_mismatch
    )[0]
    settings = ParadeSettings(
        aggregation=aggregation,
        words=words,
        overlap=overlap,
        passages=passages,
        max_tokens=max_tokens,
        query_tokens=query_tokens,
        layers=layers,
        positions=positions,
    )
    return Parade(transformer.model, transformer.tokenizer, settings)
