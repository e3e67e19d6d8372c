"""What a metadata value may be: JSON and nothing else, with dates as ISO 8601 strings."""

from __future__ import annotations

import datetime
import decimal
import math
import uuid
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from retrieval.errors import DocumentError

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

MAXIMUM_DEPTH = 64  # far above real metadata, far below the recursion limit of any JSON library
_SMALLEST_INTEGER = -(2**63)  # what JSON parsers and Arrow hold exactly
_LARGEST_INTEGER = 2**64 - 1
_CONVERSIONS: tuple[tuple[Any, Callable[[Any], Any]], ...] = (
    ((datetime.date, datetime.time), lambda moment: moment.isoformat()),  # a datetime is a date
    (uuid.UUID, str),
    (str, str.__str__),  # subclasses such as enumerations, whose str() would be their name
    (int, int),
    (float, float),
    (decimal.Decimal, float),
)


class InvalidDocumentError(DocumentError):
    """One document is unusable; `reason` is the kind of fault, in words that do not vary with the value."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def shorten(value: object, width: int = 60) -> str:
    """Show a value in an error message: its `repr`, cut to `width` characters."""
    try:
        shown = repr(value[: width + 1]) if isinstance(value, str | bytes) else repr(value)
    except Exception:  # the value is not ours: an integer of 5,000 digits, for one, refuses to be shown
        return f"<{type(value).__name__}>"
    return shown if len(shown) <= width else shown[: width - 1] + "…"


def is_encodable(text: str) -> bool:
    """Tell whether a string can be written as UTF-8, that is, whether it holds no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def json_object(values: Mapping[Any, Any]) -> dict[str, JSON]:
    """Copy metadata into plain JSON values.

    Dates, times and datetimes become ISO 8601 strings, tuples and arrays lists, decimals floats, UUIDs strings.

    Args:
        values: What a caller or a reader offers as metadata.

    Raises:
        InvalidDocumentError: A key is no string, or a value has no JSON form (NaN, bytes, an object); names the path.
    """
    if not isinstance(values, Mapping):
        raise InvalidDocumentError("metadata is not an object", f"got {shorten(values)}; give a mapping of names")
    return _object(values, path="", depth=1)


def _object(values: Mapping[Any, Any], path: str, depth: int) -> dict[str, JSON]:
    return {_key(key, path): _value(value, path, key, depth) for key, value in values.items()}


def _key(key: Any, path: str) -> str:
    if type(key) is str and is_encodable(key):
        return key
    raise InvalidDocumentError("metadata key is not text", f"{shorten(key)}{_inside(path)}; keys must be valid strings")


def _value(value: Any, path: str, key: Any, depth: int) -> JSON:
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        if is_encodable(value):
            return value
        raise _unusable(value, path, key, "holds a lone surrogate; decode the source as what it is")
    if kind is int:
        if _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER:
            return value
        raise _unusable(value, path, key, "is outside the 64-bit range; store it as a string")
    if kind is float:
        if math.isfinite(value):
            return value
        raise _unusable(value, path, key, "is not a finite number; use null")
    return _other_value(value, path, key, depth)


def _other_value(value: Any, path: str, key: Any, depth: int) -> JSON:
    """Convert the rarer kinds: containers, dates, subclasses of the plain types, numpy scalars and arrays."""
    if depth >= MAXIMUM_DEPTH:
        raise _unusable(value, path, key, f"is nested more than {MAXIMUM_DEPTH} deep")
    below = f"{path}.{key}" if path else str(key)
    if isinstance(value, Mapping):
        return _object(value, below, depth + 1)
    if isinstance(value, list | tuple):
        return [_value(element, below, position, depth + 1) for position, element in enumerate(value)]
    try:
        plain = _plain(value)
    except (ValueError, ArithmeticError):  # a signalling NaN, for one
        raise _unusable(value, path, key, f"({type(value).__name__}) has no JSON form") from None
    if plain is not None:
        return _value(plain, path, key, depth + 1)
    raise _unusable(value, path, key, f"({type(value).__name__}) has no JSON form")


def _plain(value: Any) -> Any:
    """Return the plain Python value that stands for a date, a number of another type or an array, None if none does."""
    for kinds, convert in _CONVERSIONS:
        if isinstance(value, kinds):
            return convert(value)
    if hasattr(value, "tolist") and hasattr(value, "dtype"):  # numpy, without importing it
        return value.tolist()
    return None


def _unusable(value: object, path: str, key: object, fault: str) -> InvalidDocumentError:
    return InvalidDocumentError("metadata value is not JSON", f"{shorten(value)} of {key!r}{_inside(path)} {fault}")


def _inside(path: str) -> str:
    return f" in {path!r}" if path else ""
