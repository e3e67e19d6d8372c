"""InfoNCE at several truncations of the vectors at once, so that their first components suffice.

Matryoshka representation learning (arXiv 2205.13147), with KaLM-Embedding's dimensions and weights (arXiv 2501.01028).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from retrieval.errors import RecipeError
from retrieval.training.embedding_loss import EmbeddingLoss, VectorLoss, check_temperature, stacked_negatives
from retrieval.training.losses.group_info_nce import group_info_nce, grouped
from retrieval.training.losses.info_nce import info_nce

DATA = ("sentences", "pairs", "tuples")


def matryoshka(columns: list[Tensor], loss: VectorLoss, dimensions: Sequence[int], weights: Sequence[float]) -> Tensor:
    """Return Σ_i weight_i · loss(first dimension_i components of the vectors).

    Vectors are cut as they are and `loss` normalises what is left, so that training sees the cosine which a search over
    truncated vectors computes. (Whether they had length one before the cut makes no difference to it.)

    Args:
        columns: (B, d) tensors.
        loss: of the truncated columns; it must normalise.
        dimensions: what to keep, each at most d.
        weights: one for each dimension.

    Returns:
        A scalar.

    Raises:
        RecipeError: a dimension is larger than d.
    """
    width = columns[0].shape[-1]
    if max(dimensions) > width:
        raise RecipeError(f"dimensions hold {max(dimensions)}, but the vectors have {width}; leave out what is larger")
    parts = [
        weight * loss([vectors[..., :dimension] for vectors in columns])
        for dimension, weight in zip(dimensions, weights, strict=True)
    ]
    return sum(parts[1:], start=parts[0])


def build_loss(
    model: nn.Module,
    *,
    dimensions: Sequence[int] = (384, 256, 128, 64),
    weights: Sequence[float] = (),
    temperature: float = 0.05,
    bidirectional: bool = True,
    group: bool = False,
    expanded_negatives: bool = False,
) -> nn.Module:
    """Return the loss over batches of query, positive and any number of negatives.

    Args:
        model: a sentence-transformers model.
        dimensions: see `matryoshka`.
        weights: see `matryoshka`; none are all 1.
        temperature: of the InfoNCE inside.
        bidirectional: of `info_nce`.
        group: take `group_info_nce` instead.
        expanded_negatives: of `group_info_nce`.

    Raises:
        RecipeError: dimensions and weights do not match, or one of them or the temperature is out of its range.
    """
    check_temperature(temperature)
    weights = list(weights) or [1.0] * len(dimensions)
    if not dimensions or len(weights) != len(dimensions):
        raise RecipeError(
            f"{len(dimensions)} dimensions have {len(weights)} weights; give one weight for each dimension"
        )
    if min(dimensions) < 1 or min(weights) < 0:
        raise RecipeError(f"dimensions {list(dimensions)} must be positive, weights {weights} at least 0")

    def inner(columns: list[Tensor]) -> Tensor:
        if group:
            return group_info_nce(
                columns[0], grouped(columns[1:]), temperature=temperature, expanded_negatives=expanded_negatives
            )
        negatives = stacked_negatives(columns)
        return info_nce(columns[0], columns[1], negatives, temperature=temperature, bidirectional=bidirectional)

    return EmbeddingLoss(model, lambda columns: matryoshka(columns, inner, dimensions, weights))
