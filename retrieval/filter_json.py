"""Filters from JSON values; `filter_parser.parse_filter` documents the grammar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from retrieval.documents.json_values import shorten
from retrieval.errors import FilterError
from retrieval.filter_nodes import And, Compare, Equals, Exists, Filter, In, Not, Or
from retrieval.filter_text import unquoted_field
from retrieval.filter_values import COMPARISONS, parse_date

_DEEPEST = 100
_OPERATORS = ("=", "!=", *COMPARISONS, "in", "not in", "exists")


def filter_from_json(values: Mapping[str, Any], place: str = "$", depth: int = 1) -> Filter:
    """Read the JSON form of a filter.

    Args:
        values: The object.
        place: Where it stands, for errors: `$.and[1]`.
        depth: How deep it stands.

    Raises:
        FilterError: Names the place and what was expected there.
    """
    if depth > _DEEPEST:
        raise FilterError(f"the filter is nested more than {_DEEPEST} deep")
    if not isinstance(values, Mapping):
        raise _error(place, "an object", values)
    if not values:
        raise _error(place, "a condition (leave the filter out to match everything)", values)
    return _all([_entry(key, value, f"{place}.{key}", depth) for key, value in values.items()])


def _entry(key: Any, value: Any, place: str, depth: int) -> Filter:
    if not isinstance(key, str):
        raise _error(place, "a field's name", key)
    if key == "not":
        return Not(filter_from_json(value, place, depth + 1))
    if key in {"and", "or"}:
        if not isinstance(value, list | tuple) or not value:
            raise _error(place, "a list of filters", value)
        parts = [filter_from_json(part, f"{place}[{position}]", depth + 1) for position, part in enumerate(value)]
        return _all(parts) if key == "and" or len(parts) == 1 else Or(tuple(parts))
    return _condition(unquoted_field(key), value, place)


def _condition(name: str, value: Any, place: str) -> Filter:
    if value is None:
        return Not(Exists(name))
    if isinstance(value, list | tuple | set | frozenset):
        return In(name, _values(value, place))
    if not isinstance(value, Mapping) or "date" in value:
        return Equals(name, _value(value, place))
    if not value:
        raise _error(place, "an operator and a value", value)
    return _all([_comparison(name, symbol, bound, f"{place}.{symbol}") for symbol, bound in value.items()])


def _comparison(name: str, symbol: Any, bound: Any, place: str) -> Filter:
    if symbol in COMPARISONS:
        return Compare(name, symbol, _value(bound, place))
    make: Callable[[], Filter] | None = {
        "=": lambda: Not(Exists(name)) if bound is None else Equals(name, _value(bound, place)),
        "!=": lambda: Exists(name) if bound is None else Not(Equals(name, _value(bound, place))),
        "in": lambda: In(name, _values(bound, place)),
        "not in": lambda: Not(In(name, _values(bound, place))),
        "exists": lambda: _existence(name, bound, place),
    }.get(symbol)
    if make is None:
        raise _error(place, f"one of {', '.join(_OPERATORS)}", symbol)
    return make()


def _existence(name: str, wanted: Any, place: str) -> Filter:
    if not isinstance(wanted, bool):
        raise _error(place, "true or false", wanted)
    return Exists(name) if wanted else Not(Exists(name))


def _values(values: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(values, list | tuple | set | frozenset):
        raise _error(place, "a list of values", values)
    ordered = sorted(values, key=repr) if isinstance(values, set | frozenset) else values
    return tuple(_value(value, f"{place}[{position}]") for position, value in enumerate(ordered))


def _value(value: Any, place: str) -> Any:
    """Check a single value; {"date": text} becomes a date or datetime."""
    if isinstance(value, Mapping):
        text = value.get("date") if len(value) == 1 else None
        moment = parse_date(text) if isinstance(text, str) else None
        if moment is None:
            raise _error(place, 'a value, or {"date": "2024-01-31"}', value)
        return moment
    if value is None or isinstance(value, list | tuple | set | frozenset):
        raise _error(place, 'a single value (null: {field: null} or {"exists": false})', value)
    return value


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else And(tuple(parts))


def _error(place: str, expected: str, found: object) -> FilterError:
    place = place if place.isprintable() and len(place) <= 200 else shorten(place, 200)
    return FilterError(f"cannot read the filter at {place}: expected {expected}, found {shorten(found)}")
