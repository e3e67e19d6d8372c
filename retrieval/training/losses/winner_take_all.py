"""The ranking loss of ultra-high-dimensional encoders, with what their training needs around the steps.

Biases are centred before the first step, the number of winners falls over the first part of training, the scale of the
impacts is measured at the end, and dimensions that never win are counted and reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from retrieval.models.ultra_high_dimensional.annealing import WinnerSchedule
from retrieval.models.ultra_high_dimensional.building import bucket_module, centre
from retrieval.models.ultra_high_dimensional.calibration import calibrate
from retrieval.models.ultra_high_dimensional.dead_dimensions import DimensionWatch
from retrieval.training.losses.sparse_ranking import Objective, SparseRankingLoss

DATA = ("sentences", "pairs", "tuples")


class WinnerTakeAllLoss(SparseRankingLoss):
    """`SparseRankingLoss` with the hooks of `retrieval.training.hooks`.

    Args:
        model: a `SparseEncoder` with an ultra-high-dimensional module.
        first_k: winners of a token in the first step; at least the module's k.
        anneal: share of the steps in which they fall to the module's k.
        centred: centre the biases before the first step.
        **settings: of `SparseRankingLoss`.
    """

    def __init__(
        self, model: Any, *, first_k: int = 0, anneal: float = 0.3, centred: bool = True, **settings: Any
    ) -> None:
        super().__init__(model, **settings)
        module = bucket_module(model)
        self._k = module.settings.k
        self._first_k = max(first_k, self._k)
        self._anneal = anneal
        self._centred = centred
        self._watch, _ = DimensionWatch.on(module)
        self._half = 0

    def before_training(self, texts: Sequence[str]) -> None:
        """Centre the biases."""
        if self._centred:
            centre(self.model, texts)

    def begin_step(self, step: int, steps: int) -> None:
        """Set the number of winners, and count dimensions anew in the second half of training."""
        schedule = WinnerSchedule(self._first_k, self._k, round(self._anneal * steps))
        bucket_module(self.model).set_k(schedule.k(step))
        if not self._half and 2 * step >= steps:
            self._half = 1
            self._watch.reset()

    def after_training(self, texts: Sequence[str]) -> None:
        """Measure the scale of the impacts."""
        bucket_module(self.model).set_k(self._k)
        self._use = self._watch.report()  # of training; what follows is not counted
        calibrate(self.model, texts)

    def notes(self) -> dict[str, Any]:
        """Return how dimensions were used in the second half of training."""
        use = self._use
        return {"texts": use.n_texts, "dead share": use.dead_share, "buckets": [asdict(each) for each in use.buckets]}


def build_loss(
    model: Any,
    *,
    objective: Objective = "softmax",
    temperature: float = 1.0,
    margin: float = 1.0,
    binary: float = 0.0,
    binary_temperature: float = 1.0,
    balance: float = 0.0,
    first_k: int = 0,
    anneal: float = 0.3,
    centred: bool = True,
) -> WinnerTakeAllLoss:
    """Return the loss over batches of query, positive and any number of negatives."""
    return WinnerTakeAllLoss(
        model,
        objective=objective,
        temperature=temperature,
        margin=margin,
        binary=binary,
        binary_temperature=binary_temperature,
        balance=balance,
        first_k=first_k,
        anneal=anneal,
        centred=centred,
    )
