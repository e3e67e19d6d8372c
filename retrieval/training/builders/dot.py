"""BERT_DOT to train: an encoder whose [CLS] states of query and passage meet in an inner product."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.encoders.embedded import EMBEDDED
from retrieval.training.builders import encoder

if TYPE_CHECKING:
    from retrieval.models.rankers.dot import DotNetwork


def build_model(
    *,
    backbone: str = EMBEDDED,
    query_tokens: int = 30,
    passage_tokens: int = 200,
    random_weights: bool = False,
    allow_mismatch: bool = False,
) -> DotNetwork:
    """Return a network to train.

    Args:
        backbone: "embedded" for the packaged MiniLM, a sentence-transformers folder, or any transformers encoder by
            path or name, a published BERT_DOT checkpoint among them.
        query_tokens: of a query that are read, special tokens included.
        passage_tokens: likewise of a passage.
        random_weights: forget what the backbone has learned, keep its shape and tokenizer.
        allow_mismatch: take a checkpoint whose parameters are not those of its configuration.

    Raises:
        EncoderError: there is no such model.
        TrainingError: the checkpoint's parameters do not match; the message lists them.
        RecipeError: the backbone is causal, so that its first token reads nothing.
        RerankerError: the backbone has not as many positions, or no token before a text.
    """
    from retrieval.models.rankers.dot import DotNetwork, DotSettings

    transformer = encoder.build_model(
        backbone=backbone, pooling="cls", random_weights=random_weights, allow_mismatch=allow_mismatch
    )[0]
    settings = DotSettings(query_tokens=query_tokens, passage_tokens=passage_tokens)
    return DotNetwork(transformer.model, transformer.tokenizer, settings)
