"""The ranking loss of ultra-high-dimensional encoders, with what their training needs around the steps.

Biases are centred before the first step, buckets may learn faster than the backbone, the number of winners may fall
over the first part of training, the scale of the impacts is measured at the end, and dimensions that never win are
counted and reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from retrieval.errors import RetrievalError
from retrieval.models.ultra_high_dimensional.annealing import WinnerSchedule
from retrieval.models.ultra_high_dimensional.building import bucket_module, centre
from retrieval.models.ultra_high_dimensional.calibration import calibrate
from retrieval.models.ultra_high_dimensional.dead_dimensions import DimensionWatch
from retrieval.training.losses.sparse_ranking import Objective, SparseRankingLoss, straight_through

DATA = ("sentences", "pairs", "tuples")


class WinnerTakeAllLoss(SparseRankingLoss):
    """`SparseRankingLoss` with the hooks of `retrieval.training.hooks`.

    Args:
        model: a `SparseEncoder` with an ultra-high-dimensional module.
        first_k: winners of a token in the first step; at least the module's k.
        anneal: share of the steps in which they fall to the module's k.
        centred: centre the biases before the first step.
        bucket_rate: learning rate of the buckets as a multiple of the backbone's: they begin at random, the backbone
            does not.
        **settings: of `SparseRankingLoss`.

    Raises:
        EncoderError: the model has no ultra-high-dimensional module.
        RetrievalError: a setting is out of its range.
    """

    past_middle: Tensor

    def __init__(
        self,
        model: Any,
        *,
        first_k: int = 0,
        anneal: float = 0.3,
        centred: bool = True,
        bucket_rate: float = 1.0,
        **settings: Any,
    ) -> None:
        super().__init__(model, **settings)
        if not 0 <= anneal <= 1:
            raise RetrievalError(f"anneal is a share of the steps, 0 to 1, not {anneal!r}")
        if not bucket_rate > 0:
            raise RetrievalError(f"bucket_rate must be positive, not {bucket_rate!r}")
        module = bucket_module(model)
        self._k = module.settings.k
        self._first_k = max(first_k, self._k)
        self._anneal = anneal
        self._centred = centred
        self._bucket_rate = bucket_rate
        self._watch, _ = DimensionWatch.on(module)  # its counts and the flag below are saved with checkpoints
        self.register_buffer("past_middle", torch.tensor(False))

    def before_training(self, texts: Sequence[str]) -> None:
        """Centre the biases."""
        if self._centred:
            centre(self.model, texts)

    def begin_step(self, step: int, steps: int) -> None:
        """Set the number of winners, and count dimensions anew in the second half of training."""
        schedule = WinnerSchedule(self._first_k, self._k, round(self._anneal * steps))
        bucket_module(self.model).set_k(schedule.k(step))
        if not self.past_middle and 2 * step >= steps:
            self.past_middle.fill_(value=True)
            self._watch.reset()

    def learning_rates(self, rate: float) -> dict[str, float]:
        """Return the buckets' learning rate by the pattern of their parameters' names."""
        return {} if self._bucket_rate == 1 else {r"\bbuckets\.\d+\.": rate * self._bucket_rate}

    def after_training(self, texts: Sequence[str]) -> None:
        """Measure the scale of the impacts."""
        bucket_module(self.model).set_k(self._k)
        self._use = self._watch.report()  # of training; what follows is not counted
        calibrate(self.model, texts)

    def notes(self) -> dict[str, Any]:
        """Return how dimensions were used in the second half of training."""
        use = self._use
        return {"texts": use.n_texts, "dead share": use.dead_share, "buckets": [asdict(each) for each in use.buckets]}

    def _binarised(self, queries: Tensor) -> Tensor:
        """Return ones times the buckets' weights, which queries carry and which stay when they are binarised."""
        module = bucket_module(self.model)
        if module.settings.bucket_weights is None:
            return straight_through(queries)
        weights = module.dimension_weights().to(queries)  # (n,)
        return straight_through(queries / weights) * weights


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
    bucket_rate: float = 1.0,
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
        bucket_rate=bucket_rate,
    )
