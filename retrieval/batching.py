"""Which texts go through a model together: batches filled to a number of tokens, longest texts first.

A batch is a rectangle, as wide as its longest text. Texts of like length waste no padding, and a rectangle of one or
two thousand tokens keeps a small model's activations in the processor's cache, however long the texts are; a fixed
number of texts does neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

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


def plan_packed_batches(lengths: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Yield the rows of each batch that goes through a model without padding, longest texts first.

    Args:
        lengths: (n,) tokens of each text.
        budget: tokens of a batch; a text longer than that is a batch of its own.

    Yields:
        (m,) int64 rows, m >= 1, texts of equal length in their order; every row comes once.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    for window in plan_windows(np.asarray(lengths, np.int64)[order], budget):
        yield order[window]


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


def plan_cheapest_batches(lengths: np.ndarray, budget: int, overhead: int) -> Iterator[np.ndarray]:
    """Yield the rows of batches that cost least, where a batch costs its tokens, padding included, and its overhead.

    For few texts of many lengths: full batches of them are mostly padding, and a batch for each length mostly overhead.
    Found by dynamic programming over the texts by length, in time n · budget / length.

    Args:
        lengths: (n,) tokens of each text.
        budget: tokens of a batch, padding included; a text longer than that is a batch of its own.
        overhead: what a batch costs beside its tokens, in tokens.

    Yields:
        (m,) int64 rows, m >= 1, longest texts first, texts of equal length in their order; every row comes once.
    """
    order = np.argsort(-np.asarray(lengths, np.int64), kind="stable")
    widths = np.maximum(np.asarray(lengths, np.int64)[order], 1)
    costs = np.zeros(len(order) + 1, np.int64)  # of the batches of the first texts
    starts = np.zeros(len(order) + 1, np.int64)  # of the last of these batches
    for end in range(1, len(order) + 1):
        # No batch that ends here holds more than texts of its shortest width would allow.
        first = max(end - max(budget // int(widths[end - 1]), 1), 0)
        tokens = widths[first:end] * np.arange(end - first, 0, -1)
        tokens[:-1][tokens[:-1] > budget] = np.iinfo(np.int64).max // 2
        totals = costs[first:end] + tokens
        best = int(np.argmin(totals))
        costs[end], starts[end] = totals[best] + overhead, first + best
    ends = [len(order)]
    while ends[-1]:
        ends.append(int(starts[ends[-1]]))
    for start, end in pairwise(reversed(ends)):
        yield order[start:end]


def distinct(texts: Iterable[str]) -> tuple[list[str], np.ndarray]:
    """Return texts without repetitions, in their order, and for each text which of them it is, (n,) int64."""
    numbers: dict[str, int] = {}
    places = [numbers.setdefault(text, len(numbers)) for text in texts]
    return list(numbers), np.array(places, np.int64)
