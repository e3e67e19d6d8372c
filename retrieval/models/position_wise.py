"""Networks that see one position at a time, applied to a long text in parts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

POSITIONS = 512
"""Positions of a part: their inner activations stay in a processor's cache, and memory does not grow with the inner
width times the length."""


def by_positions(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return what a position-wise function makes of (batch, length, width), part by part.

    Only where that is faster and changes nothing: on a processor, without gradients.

    Args:
        function: reads each position by itself; (batch, n, width) to (batch, n, any).
        x: (batch, length, width).
    """
    if x.device.type != "cpu" or x.shape[1] <= POSITIONS or torch.is_grad_enabled():
        return function(x)
    return torch.cat([function(part) for part in x.split(POSITIONS, dim=1)], dim=1)
