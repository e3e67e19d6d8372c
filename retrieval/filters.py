"""Metadata filters: `field("year") >= 2020` in Python, `parse_filter` for text and JSON.

A filter is two-valued: a document whose field is missing, null or an empty list satisfies no comparison, and so
satisfies the negation of each. A list satisfies a comparison if any of its elements does. Values of different kinds
never compare: "2020" is not 2020.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from retrieval.filter_nodes import And, Compare, Equals, Exists, FieldFilter, Filter, In, Not, Or
from retrieval.filter_parser import FilterSpec, parse_filter
from retrieval.filter_values import Scalar

__all__ = [
    "And",
    "Compare",
    "Equals",
    "Exists",
    "Field",
    "FieldFilter",
    "Filter",
    "FilterSpec",
    "In",
    "Not",
    "Or",
    "field",
    "parse_filter",
]


@dataclass(frozen=True, eq=False)
class Field:
    """A metadata field to compare: `field("year") >= 2020`."""

    name: str

    __hash__ = None  # type: ignore[assignment]  # == makes a filter, so a field is no key

    def __eq__(self, value: object) -> Filter:  # type: ignore[override]
        return self.is_null() if value is None else Equals(self.name, value)  # type: ignore[arg-type]

    def __ne__(self, value: object) -> Filter:  # type: ignore[override]
        return Not(self == value) if value is not None else self.is_not_null()

    def __lt__(self, value: Scalar) -> Filter:
        return Compare(self.name, "<", value)

    def __le__(self, value: Scalar) -> Filter:
        return Compare(self.name, "<=", value)

    def __gt__(self, value: Scalar) -> Filter:
        return Compare(self.name, ">", value)

    def __ge__(self, value: Scalar) -> Filter:
        return Compare(self.name, ">=", value)

    def in_(self, values: Iterable[Scalar]) -> Filter:
        """Make the filter "has one of these values"."""
        return In(self.name, values)  # type: ignore[arg-type]  # In makes the tuple

    def contains(self, value: Scalar) -> Filter:
        """Make the filter "is a list with this element"; the same as `==`, which looks into lists."""
        return Equals(self.name, value)

    def is_null(self) -> Filter:
        """Make the filter "is missing, null or an empty list"."""
        return Not(Exists(self.name))

    def is_not_null(self) -> Filter:
        """Make the filter "has a value"."""
        return Exists(self.name)


def field(name: str) -> Field:
    """Name a metadata field, to compare it with a value; dots lead into nested objects.

    Example:
        `(field("year") >= 2020) & field("lang").in_(["en", "de"]) & ~field("draft").is_null()`
    """
    return Field(name)
