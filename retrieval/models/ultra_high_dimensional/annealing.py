"""From many winners to few over the first part of training: k falls step by step, so that more rows learn early."""

from __future__ import annotations

import math
from dataclasses import dataclass

from retrieval.errors import EncoderError


@dataclass(frozen=True)
class WinnerSchedule:
    """How many dimensions of a token win at each step of training.

    Call `module.set_k(schedule.k(step))` before each step. k falls geometrically, as the share of silenced dimensions
    is what training feels: from 512 to 32 it halves four times at equal distances.

    Attributes:
        first: k at step 0.
        last: k from step `steps` on; at most `first`.
        steps: how long k falls; 0 begins with `last`.
    """

    first: int
    last: int
    steps: int

    def __post_init__(self) -> None:
        if not 1 <= self.last <= self.first:
            raise EncoderError(f"k must fall from first to last >= 1, not from {self.first:,} to {self.last:,}")
        if self.steps < 0:
            raise EncoderError(f"the number of steps must be at least 0, not {self.steps:,}")

    def k(self, step: int) -> int:
        """Return k at a step, counted from 0."""
        if step >= self.steps:
            return self.last
        share = max(step, 0) / self.steps
        return max(round(self.first * math.exp(share * math.log(self.last / self.first))), self.last)
