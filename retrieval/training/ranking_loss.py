"""What losses for rankers share: the scores of each query's passages, the positive first, to one number.

The same functions of scores serve ranking networks, which read query and passage, and bi-encoders, whose score is the
inner product of their vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from retrieval.errors import TrainingDataError

Function = Callable[[Tensor, Any], Tensor]
"""From scores (tuples, 1 + negatives), the positive's first, and a teacher's of the same shape, to a scalar.

Where the loss does without a teacher, these may be None.
"""


class RankingLoss(nn.Module):
    """Lets a model score the tuples of a batch and compares.

    Args:
        model: a `RankingNetwork`, or a sentence-transformers model. The latter is told to compare its vectors by inner
            product from now on, which is what is trained; a cosine would bound the scores.
        function: the loss.
        needs_teacher: whether it compares with a teacher's scores.
    """

    def __init__(self, model: Any, function: Function, *, needs_teacher: bool) -> None:
        super().__init__()
        if getattr(model, "similarity_fn_name", "dot") != "dot":
            model.similarity_fn_name = "dot"
        self.model = model
        self._function = function
        self._needs_teacher = needs_teacher

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor | None = None) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            sentence_features: of a network one dictionary: what its `prepare` made of all rows, query by query, and
                `n_tuples`, the number of queries. Of a bi-encoder one for each column: queries, positives, negatives.
            labels: a teacher's scores, (tuples, 1 + negatives), or None.

        Raises:
            TrainingDataError: the loss needs a teacher's scores and there are none, or not one for each passage.
        """
        if labels is None and self._needs_teacher:
            raise TrainingDataError("this loss compares with a teacher's scores, which the examples have not")
        columns = [dict(features) for features in sentence_features]
        n_tuples = columns[0].pop("n_tuples", None)
        if n_tuples is None:
            scores = self._inner_products(columns)  # (tuples, 1 + negatives)
        else:
            scores = self.model(columns[0]).float().view(n_tuples, -1)  # (tuples, 1 + negatives)
        if self._needs_teacher and labels is not None and labels.shape != scores.shape:
            raise TrainingDataError(
                f"a teacher's scores have the shape {tuple(labels.shape)}, the student's {tuple(scores.shape)}: each "
                "passage needs one of both"
            )
        return self._function(scores, None if labels is None else labels.to(scores))

    def _inner_products(self, columns: list[dict[str, Any]]) -> Tensor:
        from sentence_transformers.base.losses.merged_forward import embed_columns

        for number, features in enumerate(columns):
            features.setdefault("task", "document" if number else "query")  # for sparse encoders that tell them apart
        query, *passages = (vectors.float() for vectors in embed_columns(self.model, columns))  # (tuples, d) each
        return torch.stack([(query * passage).sum(dim=-1) for passage in passages], dim=1)


def check_negatives(scores: Tensor) -> None:
    """Refuse tuples of a positive alone, on which a loss that compares would be constant.

    Args:
        scores: (tuples, 1 + negatives).

    Raises:
        TrainingDataError: there are no negatives.
    """
    if scores.shape[1] < 2:
        raise TrainingDataError("this loss compares positives with negatives: set negatives to 1 or more")


def margins(scores: Tensor) -> Tensor:
    """Return by how much each query's positive leads its negatives, (tuples, negatives).

    Args:
        scores: (tuples, 1 + negatives).

    Raises:
        TrainingDataError: there are no negatives.
    """
    check_negatives(scores)
    return scores[:, :1] - scores[:, 1:]
