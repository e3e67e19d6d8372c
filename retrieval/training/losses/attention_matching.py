"""Pre-training of PreTTR's compression: what the joint layers attend to is to stay what it is without compression.

MacAvaney et al., arXiv 2004.14255. No judgements are needed: any queries and passages serve. Nothing but the
compression learns; the whole network is trained afterwards, with a ranking loss.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from retrieval.errors import RecipeError
from retrieval.models.rankers.prettr import PreTTR
from retrieval.training.ranking_loss import RankingLoss

DATA = ("tuples", "scored_tuples")


class AttentionMatching(RankingLoss):
    """`PreTTR.attention_difference` of a batch.

    Args:
        model: a `PreTTR` with compression.

    Raises:
        RecipeError: it is another network, or has no compression.
    """

    def __init__(self, model: Any) -> None:
        if not isinstance(model, PreTTR) or model.compression is None:
            raise RecipeError("this loss trains the compression of a model 'prettr'; set model_settings.compression")
        super().__init__(model, lambda scores, _: scores.mean(), needs_teacher=False)

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the loss of a batch, a scalar; arguments as in `RankingLoss.forward`, scores are not looked at."""
        features = dict(next(iter(sentence_features)))
        features.pop("n_tuples", None)
        difference: Tensor = self.model.attention_difference(features)
        return difference


def build_loss(model: Any) -> AttentionMatching:
    """Return the loss over batches of a query, its positive and negatives; it has no settings."""
    return AttentionMatching(model)
