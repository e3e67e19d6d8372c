"""What the losses of this package share: a module between a trainer's batches and a function of vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from sentence_transformers.base.losses.merged_forward import embed_columns
from torch import Tensor, nn

from retrieval.errors import RecipeError

VectorLoss = Callable[[list[Tensor]], Tensor]


class EmbeddingLoss(nn.Module):
    """Encodes the texts of a batch and hands their vectors to a function.

    Each column of the batch (query, positive, negatives …) is encoded with dropout of its own, even where two columns
    hold the same texts.

    Args:
        model: a sentence-transformers model.
        function: takes one (batch, dimension) tensor for each column, in their order; returns a scalar.
    """

    def __init__(self, model: nn.Module, function: VectorLoss) -> None:
        super().__init__()
        self.model = model
        self._function = function

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the loss of a batch; labels are not looked at."""
        return self._function([vectors.float() for vectors in embed_columns(self.model, sentence_features)])


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is not positive: a negative one would push positives away.

    Raises:
        RecipeError: it is not.
    """
    if not temperature > 0:
        raise RecipeError(f"temperature in loss_settings is {temperature}, but must be above 0")


def cosine_matrix(first: Tensor, second: Tensor) -> Tensor:
    """Return the cosine of every vector of the first with every one of the second, (n, m)."""
    return nn.functional.normalize(first, dim=-1) @ nn.functional.normalize(second, dim=-1).T


def stacked_negatives(columns: list[Tensor]) -> Tensor | None:
    """Return the columns behind query and positive as (batch, negatives, dimension); None where there are none."""
    return torch.stack(columns[2:], dim=1) if len(columns) > 2 else None
