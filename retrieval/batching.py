"""Which texts go through a model together: batches filled to a number of tokens, longest texts first.

A batch is a rectangle, as wide as its longest text. Texts of like length waste no padding, and a rectangle of one or
two thousand tokens keeps a small model's activations in the processor's cache, however long the texts are; a fixed
number of texts does neither.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def plan_batches(lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Yield the rows of each batch, longest texts first, texts of equal length in their order.

    Args:
        lengths: (n,) tokens of each text.
        budget: tokens of a batch, padding included; a text longer than that is a batch of its own.

    Yields:
        (m,) int64 rows, m >= 1; every row comes once.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    start = 0
    while start < len(order):
        width = max(int(lengths[order[start]]), 1)
        end = start + max(budget // width, 1)
        yield order[start:end]
        start = end


def plan_windows(lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Yield consecutive rows whose lengths add up to at most the budget, at least one row at a time.

    Args:
        lengths: (n,) in any unit.
        budget: in the same unit.

    Yields:
        (m,) int64 rows, ascending.
    """
    ends = np.cumsum(np.asarray(lengths, np.int64))
    start = 0
    while start < len(ends):
        before = int(ends[start - 1]) if start else 0
        end = max(int(np.searchsorted(ends, before + budget, side="right")), start + 1)
        yield np.arange(start, end)
        start = end
