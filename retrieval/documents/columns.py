"""Which columns of a row hold a document's id, text, title, metadata and vector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from retrieval.documents.document import Document
from retrieval.documents.json_values import InvalidDocumentError, shorten
from retrieval.errors import DocumentError

AUTO = "auto"
ALL = "all"
ROW = "row"
ID_NAMES = ("id", "_id", "docid", "doc_id", "docno", "pid")
TEXT_NAMES = ("text", "contents", "body", "passage", "abstract", "content")
TITLE_NAMES = ("title", "headline", "name")
METADATA_NAME = "metadata"

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Columns:
    """The columns a caller named, and the rules for those that were left to be recognised.

    Recognised names are compared without regard to case, the first of each list that is present is taken:
    `ID_NAMES`, `TEXT_NAMES`, `TITLE_NAMES`. A column called "metadata" that holds an object (or its JSON) is spread
    into the metadata; beside it go all other columns, which win where names clash.

    Args:
        id: Column of the id, "auto" to recognise it, or "row" to make ids from file name and line: "corpus.csv:17".
        text: Column or columns of the text (several are joined by line ends), or "auto".
        title: Column of the title, "auto", or None for documents without titles.
        metadata: "all" or the names of the columns to keep as metadata.
        vector: Column of ready-made vectors, or None.
    """

    id: str = AUTO
    text: str | tuple[str, ...] = AUTO
    title: str | None = AUTO
    metadata: str | tuple[str, ...] = ALL
    vector: str | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that the caller named and that a table therefore must have."""
        named = [name for name in (self.id, self.title, self.vector) if name not in {AUTO, ROW, None}]
        for names in (self.text, self.metadata):
            if names not in {AUTO, ALL}:
                named.extend(_as_tuple(names))
        return tuple(name for name in named if name)

    def layout(self, names: Sequence[str]) -> Layout:
        """Decide what each column of a row with these names is.

        Raises:
            InvalidDocumentError: No column holds an id or a text.
        """
        identifier = self._identifier(names)
        text = _recognised(names, TEXT_NAMES) if self.text == AUTO else _as_tuple(self.text)
        if not text:
            raise InvalidDocumentError("no text column", f"found {_listed(names)}; name it with text=…")
        title = (*_recognised(names, TITLE_NAMES), None)[0] if self.title == AUTO else self.title
        used = {name for name in (identifier, title, self.vector, *text) if name is not None}
        kept = [name for name in names if name not in used] if self.metadata == ALL else _as_tuple(self.metadata)
        return Layout(
            id=identifier,
            text=text,
            title=title,
            metadata=tuple(name for name in kept if name != METADATA_NAME),
            spread=METADATA_NAME if METADATA_NAME in kept else None,
        )

    def table_layout(self, names: Sequence[str], place: str) -> Layout:
        """Decide what each column of a table is; unlike a single row, a table must have every column that was named.

        Raises:
            DocumentError: A named column is missing, a name occurs twice, or no column holds an id or a text.
        """
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            raise DocumentError(f"{place}: column {twice[0]!r} occurs twice; rename one of them")
        missing = [name for name in self.named if name not in names]
        if missing:
            raise DocumentError(f"{place}: no column {missing[0]!r}; found {_listed(names)}")
        try:
            return self.layout(names)
        except InvalidDocumentError as error:
            raise DocumentError(f"{place}: {error}") from None

    def _identifier(self, names: Sequence[str]) -> str | None:
        if self.id == ROW:
            return None
        found = _recognised(names, ID_NAMES)[:1] if self.id == AUTO else tuple(n for n in names if n == self.id)
        if not found:
            fix = "name it with id=…, or number the rows with id='row'"
            raise InvalidDocumentError("no id column", f"found {_listed(names)}; {fix}")
        return found[0]


@dataclass(frozen=True)
class Layout:
    """What the columns of one kind of row are; makes documents from rows.

    Args:
        id: Column of the id; None makes an id from the place.
        text: Columns of the text.
        title: Column of the title, if any.
        metadata: Columns kept as metadata under their own names.
        spread: Column whose object is spread into the metadata, if any.
    """

    id: str | None
    text: tuple[str, ...]
    title: str | None
    metadata: tuple[str, ...]
    spread: str | None

    def document(self, row: Row, generated_id: Callable[[], str], literal: Callable[[Any], Any] | None) -> Document:
        """Make a document from a row.

        Args:
            row: Values by column name.
            generated_id: Makes the id of a row where ids are made from places.
            literal: Turns a metadata value as written into what it means; None where values have types already.

        Raises:
            InvalidDocumentError: A value is missing or unusable.
        """
        metadata = {} if self.spread is None else _spread(row.get(self.spread))
        for name in self.metadata:
            if name in row:
                metadata[name] = row[name] if literal is None else literal(row[name])
        return Document(
            id=generated_id() if self.id is None else _id(row[self.id]),
            text=self._text(row),
            title="" if self.title is None else _string(row.get(self.title), "title"),
            metadata=metadata,
        )

    def _text(self, row: Row) -> str:
        if len(self.text) == 1:
            return _string(row.get(self.text[0]), "text")
        parts = [_string(row.get(name), "text") for name in self.text]
        return "\n".join(part for part in parts if part)


def _as_tuple(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _recognised(names: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return the column that comes first in the list of known names, as a tuple of one name or none."""
    for candidate in known:
        for name in names:
            # A mapping made in Python may have keys of other types; they are refused as metadata.
            if name == candidate or (isinstance(name, str) and name.strip().lower() == candidate):
                return (name,)
    return ()


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(shorten(name) for name in names[:12])
    return f"columns {shown}{', …' if len(names) > 12 else ''}" if names else "no columns"


def _id(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return str(value)
        except ValueError:  # Python writes no integers of more than 4,300 digits
            raise InvalidDocumentError("id is too long", "an integer of thousands of digits; use a string") from None
    if value is None:
        raise InvalidDocumentError("no id", "the id is null")
    raise InvalidDocumentError("id is not a string or an integer", shorten(value))


def _string(value: object, name: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise InvalidDocumentError(f"{name} is not a string", shorten(value))


def _spread(value: object) -> dict[str, Any]:
    """Return the entries of a metadata column: of an object, or of the JSON of one; other values stay as they are."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return {METADATA_NAME: value}
    if isinstance(value, Mapping):
        return dict(value)
    return {} if value is None or value == "" else {METADATA_NAME: value}
