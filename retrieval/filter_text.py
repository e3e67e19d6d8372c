"""How the fields and values of a filter are written in its text form and in JSON."""

from __future__ import annotations

import datetime
import re
from typing import Any

import msgspec

from retrieval.filter_values import Scalar

KEYWORDS = frozenset({"and", "or", "not", "in", "is", "null", "true", "false"})
RESERVED_KEYS = frozenset({"and", "or", "not"})
WORD = re.compile(r"[^\W\d][\w.\-]*")


def is_word(text: str) -> bool:
    """Tell whether a field or string may be written without quotes in the text form."""
    return WORD.fullmatch(text) is not None and text.lower() not in KEYWORDS


def quoted_field(name: str, as_key: bool = False) -> str:
    """Write a field's name, in backquotes where it would be read as something else; backquotes inside are doubled.

    Args:
        name: Any string.
        as_key: Write a key of the JSON form, where only "and", "or", "not" and names in backquotes are special.
    """
    plain = name not in RESERVED_KEYS and not name.startswith("`") if as_key else is_word(name)
    return name if plain else f"`{name.replace('`', '``')}`"


def unquoted_field(quoted: str) -> str:
    """Undo the backquotes of `quoted_field`; other names stay as they are."""
    if len(quoted) >= 2 and quoted.startswith("`") and quoted.endswith("`"):
        return quoted[1:-1].replace("``", "`")
    return quoted


def quoted_value(value: Scalar) -> str:
    """Write a value in the text form: words bare, other strings as JSON strings, dates bare."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, str) and is_word(value):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    return msgspec.json.encode(value).decode()


def json_literal(value: Scalar) -> Any:
    """Write a value in the JSON form; a date is {"date": "2024-01-31"}, since a string compares as a string."""
    return {"date": value.isoformat()} if isinstance(value, datetime.date) else value
