"""Comparison of systems over tasks: which differences are more than chance, how large they are, and where they are.

Two systems are compared over the items that both were measured on: queries, texts, pairs. Where the main score is a
mean of values of items, the sign-flip test and the paired t-test tell how likely such a difference is by chance; where
it is a rank correlation, the bootstrap does; where it is neither (a cluster measure of the whole, average precision
over all pairs), only the difference is known, and the comparison says so.
"""

from __future__ import annotations

from eval.comparison.compare import by_task, compare_results
from eval.comparison.items import ItemDifference, ItemPolicy, item_differences
from eval.comparison.outcome import ALPHA, Comparisons, Family, PairedComparison

__all__ = [
    "ALPHA",
    "Comparisons",
    "Family",
    "ItemDifference",
    "ItemPolicy",
    "PairedComparison",
    "by_task",
    "compare_results",
    "item_differences",
]
