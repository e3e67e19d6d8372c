"""The document: what is added to a collection, filtered, updated and returned by a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from retrieval.documents.json_values import JSON, InvalidDocumentError, is_encodable, json_object, shorten

_FIELDS = frozenset({"id", "text", "title", "metadata"})


@dataclass(frozen=True)
class Document:
    """A text with an id of its own; checked when it is made, so that every document can be stored.

    Args:
        id: Any non-empty string that UTF-8 can hold; every script, spaces and newlines are allowed.
        text: The body; may be empty.
        title: Optional title, searched together with the text.
        metadata: JSON values by name, for filters and display. Dates become ISO 8601 strings; the mapping is copied.

    Raises:
        DocumentError: A field has another type, the id is empty, a string holds a lone surrogate (half a UTF-16
            pair, which UTF-8 cannot hold), or a metadata value has no JSON form.
    """

    id: str
    text: str
    title: str = ""
    metadata: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.id, str):
            raise InvalidDocumentError("id is not a string", f"{shorten(self.id)}; convert it with str()")
        if not self.id:
            raise InvalidDocumentError("empty id", "an id must have at least one character")
        for name, value in (("id", self.id), ("text", self.text), ("title", self.title)):
            if type(value) is not str or not value.isascii():  # the usual case costs no call
                _check_text(name, value)
                if type(value) is not str:  # a string of NumPy, a member of an enumeration: JSON knows strings only
                    object.__setattr__(self, name, str.__str__(value))
        object.__setattr__(self, "metadata", json_object(self.metadata))

    @property
    def full_text(self) -> str:
        """Text for search: title, a space and the text, or whichever of the two is present."""
        if self.title and self.text:
            return f"{self.title} {self.text}"
        return self.title or self.text

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Document:
        """Make a document from a mapping with the keys id, text and optionally title and metadata.

        This is the form that a collection exports. For rows with other column names use `read_documents`.

        Raises:
            DocumentError: A key is missing or unknown, or a value is unusable.
        """
        if not isinstance(values, Mapping):
            raise InvalidDocumentError("not an object", f"{shorten(values)}; give a mapping with id and text")
        for name in ("id", "text"):
            if name not in values:
                raise InvalidDocumentError(f"no {name}", f"the keys are {shorten(list(values))}")
        unknown = [name for name in values if name not in _FIELDS]
        if unknown:
            raise InvalidDocumentError("unknown field", f"{shorten(unknown[0])}; put what is not text into metadata")
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """Return the four fields as a plain dictionary that `from_mapping` reads."""
        return {"id": self.id, "text": self.text, "title": self.title, "metadata": dict(self.metadata)}


def metadata_json(document: Document) -> str:
    """Write a document's metadata as canonical JSON: keys sorted on every level, no spaces; equal content, equal text.

    Use it for content hashes and for storage.
    """
    if not document.metadata:
        return "{}"
    return msgspec.json.encode(document.metadata, order="deterministic").decode()


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidDocumentError(f"{name} is not a string", shorten(value))
    if not is_encodable(value):
        raise InvalidDocumentError("lone surrogate", f"{name} {shorten(value)} cannot be written as UTF-8")
