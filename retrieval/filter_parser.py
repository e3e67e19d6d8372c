"""Filters from text (`year >= 2020 and lang in [en, de]`) and from JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from retrieval.documents.json_values import shorten
from retrieval.errors import FilterError
from retrieval.filter_json import filter_from_json
from retrieval.filter_nodes import And, Compare, Equals, Exists, Filter, In, Not, Or
from retrieval.filter_text import KEYWORDS, WORD, unquoted_field
from retrieval.filter_values import DATE_PATTERN, parse_date

FilterSpec: TypeAlias = "str | Mapping[str, Any] | Filter"  # whatever says what to filter by

_DEEPEST = 100
_TOKENS = re.compile(
    rf"""(?P<space>\s+)
    |(?P<date>{DATE_PATTERN.pattern.replace("[T ]", "T")})(?![\w.])
    |(?P<number>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?![\w.])
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^']|'')*')
    |(?P<quoted>`(?:[^`]|``)*`)
    |(?P<word>{WORD.pattern})
    |(?P<symbol><=|>=|!=|==|[=<>()\[\],])""",
    re.VERBOSE | re.DOTALL,
)


def parse_filter(where: FilterSpec) -> Filter:
    """Read a metadata filter.

    Text: `field operator value` with `=` `!=` `<` `<=` `>` `>=`, `field in [a, b]`, `field not in [a, b]`,
    `field is null`, `field is not null`, joined by `and`, `or`, `not` and parentheses (`not` binds strongest, then
    `and`). A field is a word, or any text in backquotes; dots lead into objects. Values: numbers, true, false, dates
    (`2024-01-31`, `2024-01-31T10:00:00Z`), words, and other strings in double quotes (as in JSON) or single quotes.
    Text that begins with `{` is read as JSON. `!=` and `not in` are true of documents without the field.

    JSON: an object whose entries must all be satisfied. `{field: value}` equals, `{field: [a, b]}` is one of,
    `{field: null}` is null, `{field: {operator: value, ...}}` with the operators above, "in", "not in" and "exists"
    (true or false); `{"and": [...]}`, `{"or": [...]}`, `{"not": {...}}`. A date is `{"date": "2024-01-31"}`; a plain
    string compares as a string. Fields called and, or, not stand in backquotes.

    Args:
        where: Text, JSON values, or a filter, which is returned as it is.

    Raises:
        FilterError: Says where the filter cannot be read and what was expected.
    """
    if isinstance(where, Filter):
        return where
    if isinstance(where, Mapping):
        return filter_from_json(where)
    if not isinstance(where, str):
        raise FilterError(f"a filter is text, a mapping or a Filter, not {type(where).__name__}")
    if not where.lstrip().startswith("{"):
        return _Parser(where).filter()
    try:
        values = msgspec.json.decode(where)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise FilterError(f"the filter is no JSON: {error}") from None
    return filter_from_json(values)


class _Token(NamedTuple):
    kind: str
    text: str
    position: int

    def __str__(self) -> str:
        return shorten(self.text) if self.kind != "end" else "the end"


class _Parser:
    """Recursive descent over the tokens of one filter."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = self._split(source)
        self._next = 0
        self._depth = 0

    def filter(self) -> Filter:
        parsed = self._either()
        if self._token.kind != "end":
            raise self._error("'and', 'or' or the end")
        return parsed

    @property
    def _token(self) -> _Token:
        return self._tokens[self._next]

    def _split(self, source: str) -> list[_Token]:
        tokens = []
        position = 0
        while position < len(source):
            match = _TOKENS.match(source, position)
            if match is None:
                expected = "a closing quote" if source[position] in "\"'`" else "text in quotes"
                raise self._error(expected, _Token("other", source[position:][:20], position))
            if match.lastgroup != "space":
                tokens.append(_Token(match.lastgroup or "", match[0], position))
            position = match.end()
        return [*tokens, _Token("end", "", len(source))]

    def _accept(self, *texts: str) -> str | None:
        """Step over the next token if it is one of these symbols or keywords."""
        text = self._token.text.lower()
        if self._token.kind in {"word", "symbol"} and text in texts:
            self._next += 1
            return text
        return None

    def _expect(self, text: str) -> None:
        if self._accept(text) is None:
            raise self._error(f"'{text}'")

    def _either(self) -> Filter:
        parts = [self._both()]
        while self._accept("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _both(self) -> Filter:
        parts = [self._single()]
        while self._accept("and"):
            parts.append(self._single())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _single(self) -> Filter:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._error(f"at most {_DEEPEST} levels of parentheses and 'not'")
        if self._accept("not"):
            parsed: Filter = Not(self._single())
        elif self._accept("("):
            parsed = self._either()
            self._expect(")")
        else:
            parsed = self._condition()
        self._depth -= 1
        return parsed

    def _condition(self) -> Filter:
        name = self._field()
        negated = self._accept("not") is not None
        if self._accept("in"):
            members: Filter = In(name, tuple(self._list()))
            return Not(members) if negated else members
        if negated:
            raise self._error("'in'")
        if self._accept("is"):
            present = self._accept("not") is not None
            self._expect("null")
            return Exists(name) if present else Not(Exists(name))
        comparison = self._accept("=", "==", "!=", "<", "<=", ">", ">=")
        if comparison is None:
            raise self._error("a comparison (= != < <= > >=), 'in', 'not in' or 'is'")
        if comparison in {"=", "=="}:
            return Equals(name, self._value())
        if comparison == "!=":
            return Not(Equals(name, self._value()))
        return Compare(name, comparison, self._value())

    def _field(self) -> str:
        token = self._token
        if token.kind == "quoted" or (token.kind == "word" and token.text.lower() not in KEYWORDS):
            self._next += 1
            return unquoted_field(token.text)
        raise self._error("a field (quote other names in backquotes), 'not' or '('")

    def _list(self) -> list[Any]:
        closing = {"[": "]", "(": ")"}.get(self._accept("[", "(") or "")
        if closing is None:
            raise self._error("a list: [a, b]")
        values: list[Any] = []
        while self._accept(closing) is None:
            if values:
                self._expect(",")
            values.append(self._value())
        return values

    def _value(self) -> Any:
        token = self._token
        value = _READERS[token.kind](token.text) if token.kind in _READERS else None
        if value is None:
            null = token.kind == "word" and token.text.lower() == "null"
            raise self._error("'is null' instead of a comparison with null" if null else "a value (quote other text)")
        self._next += 1
        return value

    def _error(self, expected: str, token: _Token | None = None) -> FilterError:
        token = token or self._token
        where = f"character {token.position + 1} of {shorten(self._source, 200)}"
        return FilterError(f"cannot read the filter at {where}: expected {expected}, found {token}")


def _number(text: str) -> float | None:
    number = float(text)
    if abs(number) > 2.0**64 or not set(text) <= set("-0123456789"):
        return number if abs(number) != float("inf") else None
    return int(text)


def _string(text: str) -> str | None:
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    try:
        return msgspec.json.decode(text, type=str)
    except (msgspec.DecodeError, UnicodeError):
        return None


def _word(text: str) -> str | bool | None:
    if text.lower() in KEYWORDS:
        return {"true": True, "false": False}.get(text.lower())
    return text


_READERS = {"date": parse_date, "number": _number, "string": _string, "word": _word}
