"""The parts that metadata filters are made of, what each means, and how it is written as text and JSON.

A filter is two-valued: a document whose field is missing, null or an empty list satisfies no comparison, and so
satisfies the negation of each. A list satisfies a comparison if any of its elements does.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

from retrieval.documents.json_values import shorten
from retrieval.errors import FilterError
from retrieval.filter_text import json_literal, quoted_field, quoted_value
from retrieval.filter_values import COMPARISONS, Scalar, comparison_test, literal, values_at

DEEPEST = 48
"""Levels of And, Or and Not in a filter: what `parse_filter` reads back, far below Python's limit of recursion."""


class Filter(ABC):
    """A condition on a document's metadata; combine filters with `&`, `|` and `~`, `DEEPEST` levels at most.

    Filters are immutable, hashable and equal when they are written alike. `str(filter)` is the text and `to_json()`
    the JSON that `parse_filter` reads back.
    """

    @property
    def depth(self) -> int:
        """Levels of And, Or and Not."""
        return 0

    @abstractmethod
    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether a document with this metadata satisfies the filter; this defines what a filter means."""

    @abstractmethod
    def to_json(self) -> dict[str, Any]:
        """Write the filter as JSON values, in the grammar that `parse_filter` documents."""

    @abstractmethod
    def fields(self) -> frozenset[str]:
        """Return the fields that the filter looks at."""

    def __and__(self, other: Filter) -> Filter:
        return _joined(And, self, other)

    def __or__(self, other: Filter) -> Filter:
        return _joined(Or, self, other)

    def __invert__(self) -> Filter:
        return Not(self)

    def __bool__(self) -> bool:
        raise FilterError("a filter is neither true nor false; combine filters with & | ~ instead of and, or, not")


@dataclass(frozen=True)
class FieldFilter(Filter):
    """A condition on the values of one field; a list satisfies it if any of its elements does.

    Args:
        field: Key of the metadata; dots lead into nested objects: "author.name".
    """

    field: str

    def __post_init__(self) -> None:
        name, kind = literal(self.field)
        if kind != "string":
            raise FilterError(f"a field is named by a string, not {shorten(self.field)}")
        object.__setattr__(self, "field", name)

    @abstractmethod
    def test(self) -> Callable[[Any], bool]:
        """Make the test of one value; objects in metadata come to it as `filter_values.COMPOSITE`."""

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether any value of the field satisfies the condition."""
        return any(map(self.test(), values_at(metadata, self.field)))

    def fields(self) -> frozenset[str]:
        """Return the one field."""
        return frozenset({self.field})


@dataclass(frozen=True)
class Equals(FieldFilter):
    """The field has this value; `kind` keeps true apart from 1, which Python holds equal."""

    value: Scalar
    kind: str = dataclass_field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        _set_literal(self)

    def test(self) -> Callable[[Any], bool]:
        """Make the test whether a value equals this one."""
        return comparison_test(operator.eq, self.value, self.kind)

    def to_json(self) -> dict[str, Any]:
        """Write {field: value}."""
        return {quoted_field(self.field, as_key=True): json_literal(self.value)}

    def __str__(self) -> str:
        return f"{quoted_field(self.field)} = {quoted_value(self.value)}"


@dataclass(frozen=True)
class In(FieldFilter):
    """The field has one of these values; none of no values."""

    values: tuple[Scalar, ...]
    kinds: tuple[str, ...] = dataclass_field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.values, str) or not isinstance(self.values, Iterable):
            raise FilterError(f"membership needs a list of values, not {shorten(self.values)}")
        pairs = [literal(value) for value in self.values]
        object.__setattr__(self, "values", tuple(value for value, _ in pairs))
        object.__setattr__(self, "kinds", tuple(kind for _, kind in pairs))

    def test(self) -> Callable[[Any], bool]:
        """Make the test whether a value equals one of these; one look-up however many strings and numbers there are."""
        dates = [(value, kind) for value, kind in zip(self.values, self.kinds, strict=True) if "date" in kind]
        date_tests = [comparison_test(operator.eq, value, kind) for value, kind in dates]
        # True == 1 in Python, hence the pairs.
        plain = {(kind == "boolean", value) for value, kind in zip(self.values, self.kinds, strict=True)}
        return lambda value: (type(value) is bool, value) in plain or any(test(value) for test in date_tests)

    def to_json(self) -> dict[str, Any]:
        """Write {field: [value, ...]}."""
        return {quoted_field(self.field, as_key=True): [json_literal(value) for value in self.values]}

    def __str__(self) -> str:
        return f"{quoted_field(self.field)} in [{', '.join(quoted_value(value) for value in self.values)}]"


@dataclass(frozen=True)
class Compare(FieldFilter):
    """The field has a value on one side of a bound: `operator` is "<", "<=", ">" or ">="."""

    operator: str
    value: Scalar
    kind: str = dataclass_field(init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.operator, str) or self.operator not in COMPARISONS:
            raise FilterError(f"{shorten(self.operator)} is no comparison; use {' '.join(COMPARISONS)}")
        _set_literal(self)
        if self.kind == "boolean":
            raise FilterError(f"{shorten(self.field)} {self.operator} {self.value}: booleans have no order; use =")

    def test(self) -> Callable[[Any], bool]:
        """Make the test whether a value is on the right side of the bound."""
        return comparison_test(COMPARISONS[self.operator], self.value, self.kind)

    def to_json(self) -> dict[str, Any]:
        """Write {field: {operator: value}}."""
        return {quoted_field(self.field, as_key=True): {self.operator: json_literal(self.value)}}

    def __str__(self) -> str:
        return f"{quoted_field(self.field)} {self.operator} {quoted_value(self.value)}"


@dataclass(frozen=True)
class Exists(FieldFilter):
    """The field has a value: it is there, not null, and no empty list."""

    def test(self) -> Callable[[Any], bool]:
        """Accept every value: null is not among the values of a field."""
        return lambda _: True

    def to_json(self) -> dict[str, Any]:
        """Write {field: {"exists": true}}."""
        return {quoted_field(self.field, as_key=True): {"exists": True}}

    def __str__(self) -> str:
        return f"{quoted_field(self.field)} is not null"


@dataclass(frozen=True)
class _Combination(Filter):
    parts: tuple[Filter, ...]
    _depth: int = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        for part in self.parts:
            _check_filter(part)
        if len(self.parts) < 2:
            raise FilterError(f"{type(self).__name__} joins at least two filters, got {len(self.parts)}")
        _set_depth(self, self.parts)

    @property
    def depth(self) -> int:
        """One level more than the deepest part."""
        return self._depth

    def fields(self) -> frozenset[str]:
        """Return the fields of all parts."""
        return frozenset().union(*(part.fields() for part in self.parts))


@dataclass(frozen=True)
class And(_Combination):
    """All of the parts are satisfied."""

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether all parts match."""
        return all(part.matches(metadata) for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Write {"and": [part, ...]}."""
        return {"and": [part.to_json() for part in self.parts]}

    def __str__(self) -> str:
        return " and ".join(f"({part})" if isinstance(part, _Combination) else str(part) for part in self.parts)


@dataclass(frozen=True)
class Or(_Combination):
    """At least one of the parts is satisfied."""

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether any part matches."""
        return any(part.matches(metadata) for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Write {"or": [part, ...]}."""
        return {"or": [part.to_json() for part in self.parts]}

    def __str__(self) -> str:
        return " or ".join(f"({part})" if isinstance(part, Or) else str(part) for part in self.parts)


@dataclass(frozen=True)
class Not(Filter):
    """The part is not satisfied; true of documents without the field too, unless the part asks for null."""

    part: Filter
    _depth: int = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_filter(self.part)
        _set_depth(self, (self.part,))

    @property
    def depth(self) -> int:
        """One level more than the part."""
        return self._depth

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Tell whether the part does not match."""
        return not self.part.matches(metadata)

    def to_json(self) -> dict[str, Any]:
        """Write {"not": part}, or {field: null} for the negation of `Exists`."""
        if isinstance(self.part, Exists):
            return {quoted_field(self.part.field, as_key=True): None}
        return {"not": self.part.to_json()}

    def fields(self) -> frozenset[str]:
        """Return the fields of the part."""
        return self.part.fields()

    def __str__(self) -> str:
        part = self.part
        if isinstance(part, Exists):
            return f"{quoted_field(part.field)} is null"
        if isinstance(part, Equals):
            return f"{quoted_field(part.field)} != {quoted_value(part.value)}"
        return f"not ({part})"


def _joined(kind: type[_Combination], left: Filter, right: Filter) -> Filter:
    """Join two filters, taking apart one that is such a join already, so that a & b & c has three parts."""
    _check_filter(right)
    parts = [part for side in (left, right) for part in (side.parts if isinstance(side, kind) else (side,))]
    return kind(tuple(parts))


def _set_depth(condition: Filter, parts: Iterable[Filter]) -> None:
    depth = 1 + max(part.depth for part in parts)
    if depth > DEEPEST:
        raise FilterError(f"a filter is nested more than {DEEPEST} deep; join many conditions in one list of parts")
    object.__setattr__(condition, "_depth", depth)


def _set_literal(condition: Equals | Compare) -> None:
    value, kind = literal(condition.value)
    object.__setattr__(condition, "value", value)
    object.__setattr__(condition, "kind", kind)


def _check_filter(part: object) -> None:
    if not isinstance(part, Filter):
        raise FilterError(f"{shorten(part)} is no filter; write field('name') == value, or use parse_filter")
