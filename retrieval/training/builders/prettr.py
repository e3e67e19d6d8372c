"""PreTTR to train: lower layers of an encoder read query and passage apart, upper layers together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.encoders.embedded import EMBEDDED
from retrieval.errors import RecipeError
from retrieval.training.builders import encoder

if TYPE_CHECKING:
    from retrieval.models.rankers.prettr import PreTTR


def build_model(
    *,
    backbone: str = EMBEDDED,
    join_layer: int = 3,
    compression: int = 0,
    query_tokens: int = 30,
    passage_tokens: int = 200,
    masks: int = 8,
    random_weights: bool = False,
    allow_mismatch: bool = False,
) -> PreTTR:
    """Return a network to train; what the backbone has not, compression and scoring, is drawn from torch's generator.

    Args:
        backbone: "embedded" for the packaged MiniLM, or a BERT or DistilBERT by path or name.
        join_layer: the first layer that reads query and passage together, counted from 0.
        compression: numbers of a passage's state that are kept; 0 keeps all.
        query_tokens: of a query that are read, special tokens included and [MASK]s not.
        passage_tokens: of a passage that are read.
        masks: [MASK]s behind each query.
        random_weights: forget what the backbone has learned, keep its shape and tokenizer.
        allow_mismatch: take a checkpoint whose parameters are not those of its configuration.

    Raises:
        EncoderError: there is no such model.
        TrainingError: the checkpoint's parameters do not match; the message lists them.
        RerankerError: the backbone is of another kind, or has not as many positions.
        RecipeError: no layer would read query and passage together.
    """
    from retrieval.models.rankers.prettr import PreTTR, PreTTRSettings
    from retrieval.models.rankers.split_layers import layers_of

    model = encoder.build_model(backbone=backbone, random_weights=random_weights, allow_mismatch=allow_mismatch)
    transformer = model[0]
    n_layers = len(layers_of(transformer.model))
    if join_layer >= n_layers:
        raise RecipeError(
            f"join_layer is {join_layer} of {n_layers} layers, so that no layer reads query and passage together; "
            f"take at most {n_layers - 1}"
        )
    settings = PreTTRSettings(
        join_layer=join_layer,
        compression=compression,
        query_tokens=query_tokens,
        passage_tokens=passage_tokens,
        masks=masks,
    )
    return PreTTR(transformer.model, transformer.tokenizer, settings)
