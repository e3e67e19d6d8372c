"""What losses for ranking networks share: the scores of each query's passages, the positive first, to one number."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn

from retrieval.errors import TrainingDataError

Function = Callable[[Tensor, Tensor | None], Tensor]
"""From scores (tuples, 1 + negatives), the positive's first, and a teacher's of the same shape or None, to a scalar."""


class RankingLoss(nn.Module):
    """Lets a network score the tuples of a batch and compares.

    Args:
        model: a `RankingNetwork`.
        function: the loss.
        needs_teacher: whether it compares with a teacher's scores.
    """

    def __init__(self, model: Any, function: Function, *, needs_teacher: bool) -> None:
        super().__init__()
        self.model = model
        self._function = function
        self._needs_teacher = needs_teacher

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            sentence_features: one dictionary: what the network's `prepare` made of all rows, query by query, and
                `n_tuples`, the number of queries.
            labels: a teacher's scores, (tuples, 1 + negatives), or None.

        Raises:
            TrainingDataError: the loss needs a teacher's scores and there are none.
        """
        if labels is None and self._needs_teacher:
            raise TrainingDataError("this loss compares with a teacher's scores, which the examples have not")
        features = dict(next(iter(sentence_features)))
        n_tuples = features.pop("n_tuples")
        scores = self.model(features).float().view(n_tuples, -1)  # (tuples, 1 + negatives)
        return self._function(scores, None if labels is None else labels.float())
