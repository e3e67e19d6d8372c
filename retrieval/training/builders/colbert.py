"""ColBERT to train: an encoder with a projection, whose token states of query and passage meet by MaxSim."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from retrieval.encoders.embedded import EMBEDDED
from retrieval.training.builders import encoder

if TYPE_CHECKING:
    from retrieval.models.rankers.colbert import ColBERT


def build_model(
    *,
    backbone: str = EMBEDDED,
    form: Literal["study", "original"] = "study",
    dimension: int | None = None,
    query_tokens: int | None = None,
    passage_tokens: int | None = None,
    masks: int | None = None,
    random_weights: bool = False,
    allow_mismatch: bool = False,
) -> ColBERT:
    """Return a network to train; its projection is drawn from torch's generator.

    Args:
        backbone: "embedded" for the packaged MiniLM, a sentence-transformers folder, or any transformers encoder by
            path or name.
        form: that of the study of Margin-MSE, or the original one; see `retrieval.models.rankers.colbert`.
        dimension: of a token's state, instead of the form's (768 and 128).
        query_tokens: of a query that are read, special tokens included, instead of the form's (30 and 32); the original
            form fills queries up to that many.
        passage_tokens: likewise of a passage (200 and 220).
        masks: [MASK]s behind each query, instead of the form's (8 and none).
        random_weights: forget what the backbone has learned, keep its shape and tokenizer.
        allow_mismatch: take a checkpoint whose parameters are not those of its configuration.

    Raises:
        EncoderError: there is no such model.
        TrainingError: the checkpoint's parameters do not match; the message lists them.
        RerankerError: the backbone has not as many positions, or no [MASK].
    """
    import msgspec

    from retrieval.models.rankers.colbert import ORIGINAL, ColBERT, ColBERTSettings, add_markers

    model = encoder.build_model(backbone=backbone, random_weights=random_weights, allow_mismatch=allow_mismatch)
    transformer = model[0]
    given: dict[str, Any] = {
        "dimension": dimension,
        "query_tokens": query_tokens,
        "filled_to": query_tokens if form == "original" else None,
        "passage_tokens": passage_tokens,
        "masks": masks,
    }
    settings = ORIGINAL if form == "original" else ColBERTSettings()
    settings = msgspec.structs.replace(settings, **{name: value for name, value in given.items() if value is not None})
    add_markers(transformer.model, transformer.tokenizer, settings.query_marker, settings.passage_marker)
    return ColBERT(transformer.model, transformer.tokenizer, settings)
