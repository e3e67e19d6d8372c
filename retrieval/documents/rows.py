"""Rows of a file become documents; unusable ones are counted where they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import Any, TypeAlias

from retrieval.documents.columns import Columns, Layout, Row
from retrieval.documents.document import Document
from retrieval.documents.json_values import InvalidDocumentError
from retrieval.documents.report import ReadReport

# A document and the value of its vector column (None where none was asked for).
Item: TypeAlias = tuple[Document, Any]


def documents_from_rows(
    rows: Iterable[tuple[int, Row]],
    place: str,
    columns: Columns,
    report: ReadReport,
    literal: Callable[[Any], Any] | None = None,
) -> Iterator[Item]:
    """Turn (line number, row) pairs into documents.

    Args:
        rows: Rows by column name; they may differ in their columns.
        place: File name for reports: "data/corpus.jsonl".
        columns: Which columns hold what.
        report: Counts rows that cannot be used, and rows without any text.
        literal: Turns metadata values of an untyped format into what they mean.
    """
    layouts: dict[tuple[str, ...], Layout] = {}
    stem = PurePath(place).name
    for number, row in rows:
        try:
            names = tuple(row)
            layout = layouts.get(names)
            if layout is None:
                layout = columns.layout(names)
                if len(layouts) < 1024:  # rows whose keys never repeat must not fill the memory
                    layouts[names] = layout
            document = layout.document(row, lambda number=number: f"{stem}:{number}", literal)  # type: ignore[misc]
        except InvalidDocumentError as error:
            report.skip(f"{place}:{number}", error.reason, error.detail)
            continue
        if has_text(document):
            yield document, (row.get(columns.vector) if columns.vector else None)
        else:
            report.skip(f"{place}:{number}", "empty text", f"document {document.id!r} has neither text nor title")


def has_text(document: Document) -> bool:
    """Tell whether there is anything to search: a text or a title that is not only white space."""
    return bool(document.text and not document.text.isspace()) or bool(document.title and not document.title.isspace())
