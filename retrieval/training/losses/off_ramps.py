"""The loss of stage two of DeeBERT (arXiv 2004.12993, section 3): the sum of the off-ramps' cross-entropies."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from retrieval.errors import RecipeError
from retrieval.training.ranking_loss import RankingLoss

DATA = ("tuples", "scored_tuples")


def off_ramp_cross_entropy(ramps: Tensor, targets: Tensor) -> Tensor:
    """Return the sum over off-ramps of the mean over rows of the cross-entropy of relevance.

    Args:
        ramps: (off-ramps, n), log-odds.
        targets: (n,), probabilities of relevance.

    Returns:
        A scalar.
    """
    losses = nn.functional.binary_cross_entropy_with_logits(ramps, targets.expand_as(ramps), reduction="none")
    return losses.mean(dim=1).sum()


class OffRampLoss(RankingLoss):
    """Compares the off-ramps of an `EarlyExitNetwork` with labels, or with what the whole model says.

    Args:
        model: the network.
        targets: "labels", 1 for positives and 0 for negatives, as published; or "model": the whole model's
            probabilities, for which no judgement is needed (self-distillation).
    """

    def __init__(self, model: Any, targets: Literal["labels", "model"]) -> None:
        super().__init__(model, lambda scores, _: scores.sum(), needs_teacher=False)
        self._targets = targets

    def forward(
        self,
        sentence_features: Iterable[dict[str, Any]],
        labels: Tensor | None = None,  # noqa: ARG002  # a teacher's; the targets are chosen above
    ) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            sentence_features: see `RankingLoss.forward`.
            labels: not looked at.
        """
        features = dict(next(iter(sentence_features)))
        n_tuples = features.pop("n_tuples")
        ramps, whole = self.model.ramp_scores(features)
        if self._targets == "model":
            targets = torch.sigmoid(whole.float())
        else:
            of_tuples = torch.zeros(n_tuples, len(whole) // n_tuples, device=whole.device)
            of_tuples[:, 0] = 1.0
            targets = of_tuples.flatten()
        return off_ramp_cross_entropy(ramps.float(), targets)


def build_loss(model: Any, *, targets: Literal["labels", "model"] = "model") -> OffRampLoss:
    """Return the loss of the off-ramps.

    Args:
        model: an `EarlyExitNetwork`.
        targets: what they learn: "model", what the whole model says; or "labels", the examples' judgements.

    Raises:
        RecipeError: the model has no off-ramps.
    """
    if not hasattr(model, "ramp_scores"):
        raise RecipeError("loss 'off-ramps' is for the model early-exit: other networks have none")
    return OffRampLoss(model, targets)
