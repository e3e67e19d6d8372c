"""Which activation becomes the largest impact of an index of 8 bits: measured once, after training, on passages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from retrieval.errors import EncoderError
from retrieval.models.ultra_high_dimensional.building import bucket_module


def calibrate(model: Any, passages: Sequence[str], *, quantile: float = 0.999, batch_size: int = 32) -> float:
    """Set `largest_weight` to a high quantile of the passages' activations, and return it.

    The quantile and not the maximum: impacts have 255 steps, and a single outlier would leave few of them to the rest.
    Larger activations are cut to it by the index, which counts them.

    Args:
        model: a `SparseEncoder` with an ultra-high-dimensional module.
        passages: a sample of what will be indexed.
        quantile: share of the activations that are not cut, above 0 and at most 1.
        batch_size: passages that are encoded together.

    Raises:
        EncoderError: the quantile is none, or no passage has an active dimension.
    """
    if not 0 < quantile <= 1:
        raise EncoderError(f"the quantile must be above 0 and at most 1, not {quantile!r}")
    module = bucket_module(model)
    settings = module.settings
    module.settings = replace(settings, binarise=False)
    try:
        found = []
        for start in range(0, len(passages), batch_size):
            vectors = model.encode_document(
                list(passages[start : start + batch_size]),
                batch_size=batch_size,
                convert_to_sparse_tensor=False,
                show_progress_bar=False,
            )
            found.append(vectors[vectors > 0].float().cpu())
    finally:
        module.settings = settings
    activations = torch.cat(found).sort().values if found else torch.empty(0)  # (active,)
    if not len(activations):
        raise EncoderError(f"none of {len(passages):,} passages has an active dimension; give texts with words")
    largest = float(activations[min(int(quantile * len(activations)), len(activations) - 1)])
    module.settings = replace(settings, largest_weight=largest)
    return largest
