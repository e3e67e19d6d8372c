"""Values in metadata filters: which there are, how they compare, where they stand in a document's metadata."""

from __future__ import annotations

import datetime
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from retrieval.documents.json_values import is_encodable, shorten
from retrieval.errors import FilterError

Scalar: TypeAlias = str | bool | int | float | datetime.date  # a datetime is a date

COMPARISONS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?(?:Z|[+-]\d{2}:?\d{2})?"
DATE_PATTERN: Final = re.compile(rf"{_DATE}(?:[T ]{_TIME})?", re.ASCII)
_EPOCH = datetime.datetime(1970, 1, 1)  # subtracted from naive times in UTC
_MICROSECOND = datetime.timedelta(microseconds=1)


class Composite:
    """Stands for an object in metadata: something is there, and no comparison with it is true."""

    def __repr__(self) -> str:
        return "<object>"


COMPOSITE: Final = Composite()


def literal(value: Any) -> tuple[Scalar, str]:
    """Check a value that a filter compares with.

    Returns:
        The value in Python's plain types (of a datetime with a time zone, the offset alone is kept), and its kind:
        string, boolean, number, date or datetime. Different kinds never compare.

    Raises:
        FilterError: A filter cannot hold such a value.
    """
    if hasattr(value, "item") and hasattr(value, "dtype"):  # a numpy scalar
        value = value.item()
    if isinstance(value, bool):
        return value, "boolean"
    if isinstance(value, int | float):
        return _number(value), "number"
    if isinstance(value, str):
        if not is_encodable(value):
            raise FilterError(f"a filter cannot compare with {shorten(value)}: it holds a lone surrogate")
        return str.__str__(value), "string"
    if isinstance(value, datetime.datetime):
        return _fixed_offset(value), "datetime"
    if isinstance(value, datetime.date):
        return value, "date"
    fix = "use is_null()" if value is None else "use strings, numbers, booleans, dates or datetimes"
    raise FilterError(f"a filter cannot compare with {shorten(value)} ({type(value).__name__}); {fix}")


def parse_date(text: str) -> datetime.date | datetime.datetime | None:
    """Read an ISO 8601 date ("2024-01-31") or datetime ("2024-01-31T10:00:00Z"); None for any other text."""
    if not DATE_PATTERN.fullmatch(text):
        return None
    try:
        if len(text) == 10:
            return datetime.date.fromisoformat(text)
        return datetime.datetime.fromisoformat(text)
    except ValueError:  # 2024-02-30
        return None


def comparison_test(comparison: Callable[[Any, Any], bool], bound: Scalar, kind: str) -> Callable[[Any], bool]:
    """Make the test `value <comparison> bound`, False for all values that are not of the bound's kind.

    Numbers compare with numbers (a boolean is none), strings with strings by code points, booleans with booleans.
    A date compares with the calendar day, as written, of metadata strings that are ISO dates or datetimes; a
    datetime compares with their instant, a date standing for its midnight, and a missing offset for UTC.
    """
    if kind == "number":
        return lambda value: type(value) in (int, float) and comparison(value, bound)
    if kind == "string":
        return lambda value: type(value) is str and comparison(value, bound)
    if kind == "boolean":
        return lambda value: type(value) is bool and comparison(value, bound)
    measure = _day if kind == "date" else _instant
    moment = measure(bound)

    def test(value: Any) -> bool:
        found = parse_date(value) if type(value) is str else None
        return found is not None and comparison(measure(found), moment)

    return test


def values_at(metadata: Mapping[str, Any], path: str) -> Iterator[Any]:
    """Yield the values of a field: strings, numbers and booleans, `COMPOSITE` for an object, nothing for null.

    Lists give each of their elements. A path is the whole key if there is such a key, else it is followed at each
    dot into nested objects, and into those of lists of objects.
    """
    if path in metadata:
        yield from _leaves(metadata[path])
        return
    key, dot, rest = path.partition(".")
    if dot and key in metadata:
        for below in _objects(metadata[key]):
            yield from values_at(below, rest)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for element in value:
            yield from _leaves(element)
    elif isinstance(value, Mapping):
        yield COMPOSITE
    elif value is not None:
        yield value


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
    elif isinstance(value, list | tuple):
        for element in value:
            yield from _objects(element)


def _number(value: float) -> float:
    if isinstance(value, int):
        if abs(value) > 2**64:
            raise FilterError("a filter cannot compare with an integer beyond 64 bits; no metadata holds one")
        return int(value)
    if not math.isfinite(value):
        raise FilterError(f"a filter cannot compare with {value}; numbers must be finite")
    return float(value)


def _fixed_offset(moment: datetime.datetime) -> datetime.datetime:
    """Replace a time zone by its offset at that moment, in whole minutes, which is what ISO 8601 can write."""
    offset = moment.utcoffset()
    plain = datetime.datetime.combine(moment.date(), moment.time().replace(fold=0))
    if offset is None:
        return plain
    whole = datetime.timedelta(minutes=int(offset / datetime.timedelta(minutes=1)))
    try:
        return (plain + (whole - offset)).replace(tzinfo=datetime.timezone(whole))
    except OverflowError:
        raise FilterError(f"a filter cannot compare with {moment}: it is at the end of the calendar") from None


def _day(moment: Any) -> int:
    return moment.toordinal()


def _instant(moment: Any) -> int:
    """Microseconds since 1970 in UTC; integers, because the ends of the calendar overflow other time zones."""
    if not isinstance(moment, datetime.datetime):
        moment = datetime.datetime(moment.year, moment.month, moment.day)
    offset = moment.utcoffset() or datetime.timedelta(0)
    return (moment.replace(tzinfo=None) - _EPOCH) // _MICROSECOND - offset // _MICROSECOND
