"""The items that two systems were measured on, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from eval.errors import ComparisonError
from eval.tasks.base import TaskResult

ItemPolicy = Literal["same", "shared"]

TIE = 1e-9
"""Values of an item that are no further apart are equal."""

_EXAMPLES = 3


@dataclass(frozen=True)
class ItemDifference:
    """One item under two systems.

    Attributes:
        item: its id.
        first: the first system's value.
        second: the second's.
        text: of the query; empty where it is not known.
    """

    item: str
    first: float
    second: float
    text: str = ""

    @property
    def difference(self) -> float:
        """Second minus first; 0 where they are equal to 1e-9."""
        gap = self.second - self.first
        return gap if abs(gap) > TIE else 0.0


def item_differences(first: TaskResult, second: TaskResult) -> list[ItemDifference]:
    """Return every item that both systems have a value of, in the first one's order.

    Sorted by `difference`, the ends of the list are what the second system loses and wins most on.
    """
    texts = {**second.queries, **first.queries}
    return [
        ItemDifference(item, value, second.values[item], texts.get(item, ""))
        for item, value in first.values.items()
        if item in second.values
    ]


def shared_items(results: Sequence[TaskResult], policy: ItemPolicy) -> tuple[list[str], int]:
    """Return the items to compare over, in the first system's order, and how many are left out.

    Args:
        results: of two or more systems on one task.
        policy: "same" refuses systems with different items, "shared" takes those that all have.

    Raises:
        ComparisonError: there are other items than the policy allows, or none.
    """
    everything = set().union(*(result.values for result in results))
    shared = set(results[0].values).intersection(*(result.values for result in results[1:]))
    if everything != shared:
        if policy == "same":
            raise ComparisonError(_mismatch(results))
        if not shared:
            raise ComparisonError(f"task {results[0].task!r}: no item was measured with all of its systems")
    return [name for name in results[0].values if name in shared], len(everything) - len(shared)


def _mismatch(results: Sequence[TaskResult]) -> str:
    first, second = next(
        (one, other) for one, other in combinations(results, 2) if one.values.keys() != other.values.keys()
    )
    sides = []
    for one, other in ((first, second), (second, first)):
        only = [item for item in one.values if item not in other.values]
        if only:
            more = f" and {len(only) - _EXAMPLES:,} more" if len(only) > _EXAMPLES else ""
            sides.append(f"only {one.system!r} has {', '.join(map(repr, only[:_EXAMPLES]))}{more}")
    return (
        f"task {first.task!r}: systems were measured on different items: {'; '.join(sides)}; measure them on the same "
        "data, or compare over the items that all have (items='shared')"
    )
