"""Ultra-high-dimensional sparse encoders: a backbone with winner-take-all buckets (UHD-BERT, arXiv 2104.07198)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from retrieval.encoders.embedded import EMBEDDED
from retrieval.training.builders import encoder

if TYPE_CHECKING:
    from sentence_transformers import SparseEncoder


def build_model(
    *,
    backbone: str = EMBEDDED,
    layers: Sequence[int] = (-1,),
    dimensions: Sequence[int] = (8192,),
    k: int = 32,
    query_cap: int = 0,
    passage_cap: int = 0,
    bucket_weights: Sequence[float] = (),
    binarise: bool = False,
    allow_mismatch: bool = False,
) -> SparseEncoder:
    """Return a model to train.

    Args:
        backbone: "embedded" for the packaged MiniLM, a sentence-transformers folder, or any transformers encoder by
            path or name.
        layers: hidden states that are read, one bucket each; -1 is the last.
        dimensions: of each bucket.
        k: winners of each token in each bucket, when training ends.
        query_cap: active dimensions that a query keeps at most; 0 keeps all.
        passage_cap: likewise of a passage.
        bucket_weights: what each bucket counts in a score; none counts each 1.
        binarise: the trained model gives vectors without weights.
        allow_mismatch: take a checkpoint whose parameters are not those of its configuration.

    Raises:
        EncoderError: there is no such model, or settings do not go together.
        TrainingError: the checkpoint's parameters do not match; the message lists them.
    """
    import torch

    from retrieval.models.ultra_high_dimensional.building import build_encoder

    transformer = encoder.build_model(backbone=backbone, allow_mismatch=allow_mismatch)[0]
    return build_encoder(
        transformer,
        device="cpu",
        seed=torch.initial_seed(),  # the run's
        layers=tuple(layers),
        dimensions=tuple(dimensions),
        k=k,
        query_cap=query_cap or None,
        passage_cap=passage_cap or None,
        bucket_weights=tuple(bucket_weights) or None,
        binarise=binarise,
    )
