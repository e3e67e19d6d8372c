"""A long-context encoder made of a BERT: symmetric ALiBi and a gated feed-forward network take over its weights."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING

from retrieval.encoders.embedded import EMBEDDED
from retrieval.training.builders import encoder

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

DEFAULT_TOKENS = 8192


def build_model(
    *,
    backbone: str = EMBEDDED,
    pooling: str = "",
    normalise: bool = False,
    random_weights: bool = False,
    allow_mismatch: bool = False,
    positions: int = DEFAULT_TOKENS,
) -> SentenceTransformer:
    """Return a model to train, see `retrieval.models.alibi_bert.from_bert`.

    What it is trained to comes out as a folder that `encoder` takes as `backbone`: another stage of training does not
    name this builder again.

    Args:
        backbone: "embedded" for the packaged MiniLM, a sentence-transformers folder with a BERT, or a BERT by path or
            name.
        pooling: see `builders.encoder`.
        normalise: see there.
        random_weights: take its shape and tokenizer only, to pre-train from nothing.
        allow_mismatch: take a checkpoint whose parameters are not those of its configuration.
        positions: tokens that the encoder is meant for, and reads where a recipe's `max_tokens` says nothing else.

    Raises:
        EncoderError: there is no such model, or it is no BERT.
        TrainingError: the checkpoint's parameters do not match; the message lists them.
        RecipeError: there is no such pooling.
    """
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    from retrieval.models.alibi_bert.from_bert import alibi_from_bert

    model = encoder.build_model(backbone=backbone, pooling=pooling, normalise=normalise, allow_mismatch=allow_mismatch)
    transformer = model[0]
    alibi = alibi_from_bert(transformer.model, max_position_embeddings=positions)
    tokenizer = transformer.tokenizer
    tokenizer.model_max_length = positions
    with tempfile.TemporaryDirectory() as folder:
        alibi.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        new = Transformer(folder, model_kwargs={"use_safetensors": True})
    new.max_seq_length = positions
    built = SentenceTransformer(modules=[new, *list(model)[1:]], device="cpu", prompts=model.prompts)
    if random_weights:
        encoder.forget(built)
    return built
