"""TK to train: word embeddings, small transformer layers and kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from retrieval.encoders.embedded import EMBEDDED
from retrieval.training.builders import encoder

if TYPE_CHECKING:
    from retrieval.models.rankers.tk import TransformerKernel

_HEADS = (10, 12, 8, 6, 4, 2, 1)
"""Numbers of heads, the usual one first; the first that divides the dimension is taken."""


def build_model(
    *,
    backbone: str = EMBEDDED,
    form: Literal["improved", "original"] = "improved",
    dimension: int | None = None,
    layers: int = 2,
    heads: int | None = None,
    inner: int | None = None,
    query_tokens: int = 30,
    passage_tokens: int = 200,
    allow_mismatch: bool = False,
) -> TransformerKernel:
    """Return a network to train; what does not come from the backbone is drawn from torch's generator.

    Args:
        backbone: whose tokenizer is used and whose word embeddings the table starts from: "embedded" for the packaged
            MiniLM, or a transformers encoder by path or name.
        form: the improved one, or the original; see `retrieval.models.rankers.tk`.
        dimension: of word embeddings that start at random; None takes the backbone's.
        layers: of the transformer.
        heads: of each layer; by default 10 where they divide the dimension, else the nearest usual number that does.
        inner: width of a layer's feed-forward network, instead of the form's (300 and 100).
        query_tokens: of a query that are read.
        passage_tokens: of a passage that are read.
        allow_mismatch: take a checkpoint whose parameters are not those of its configuration.

    Raises:
        EncoderError: there is no such model.
        TrainingError: the checkpoint's parameters do not match; the message lists them.
        RerankerError: heads do not divide the dimension.
    """
    import msgspec

    from retrieval.models.rankers.text_side import table_size
    from retrieval.models.rankers.tk import ORIGINAL, TKSettings, TransformerKernel

    transformer = encoder.build_model(backbone=backbone, allow_mismatch=allow_mismatch)[0]
    tokenizer = transformer.tokenizer
    words = transformer.model.get_input_embeddings()
    # Tables have rows beyond the vocabulary where a multiple of some power of two is faster.
    table = None if dimension else words.weight.detach()[: table_size(tokenizer)]
    width = dimension or int(words.embedding_dim)
    of_form = ORIGINAL if form == "original" else TKSettings()
    settings = msgspec.structs.replace(
        of_form,
        dimension=width,
        layers=layers,
        heads=heads or next(number for number in _HEADS if width % number == 0),
        inner=of_form.inner if inner is None else inner,
        query_tokens=query_tokens,
        passage_tokens=passage_tokens,
    )
    return TransformerKernel(tokenizer, settings, table)
