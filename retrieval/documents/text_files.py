"""One text file becomes one document: plain text, Markdown, HTML, reStructuredText, PDF."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from retrieval.documents.document import Document
from retrieval.documents.html_text import declared_encoding, html_to_text
from retrieval.documents.json_values import InvalidDocumentError
from retrieval.documents.markdown_text import markdown_to_text
from retrieval.documents.pdf_text import pdf_to_text
from retrieval.documents.report import ReadReport
from retrieval.documents.restructured_text import rst_to_text
from retrieval.documents.rows import has_text
from retrieval.documents.streams import decode_text, read_all

KINDS = {
    ".txt": "text",
    ".text": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".mkd": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".rst": "rst",
    ".rest": "rst",
    ".pdf": "pdf",
}
_MARKUP: dict[str, Callable[[str], tuple[str, str]]] = {
    "text": lambda text: ("", text),
    "markdown": markdown_to_text,
    "html": html_to_text,
    "rst": rst_to_text,
}


def kind_of(path: Path) -> str | None:
    """Return the kind of text file that a name says, or None for names that say none."""
    return KINDS.get(path.suffix.lower())


def read_text_file(path: Path, name: str, kind: str, report: ReadReport) -> Document | None:
    """Read one file.

    Markup that its parser cannot digest is taken as plain text, and noted.

    Args:
        path: Where the file is.
        name: Its path below the folder that is read, with slashes: the document's id.
        kind: "text", "markdown", "html", "rst" or "pdf".
        report: Counts a file that cannot be used.

    Returns:
        The document, its title from the file's own title or first heading, else from the file's name; its metadata
        says path, modified (ISO 8601, UTC; null beyond the calendar) and format. None if the file was skipped.

    Raises:
        MissingExtraError: A PDF, and pypdf is not installed.
    """
    try:
        title, text = _title_and_text(path, kind, report)
        metadata = {"path": name, "modified": _modified(path), "format": kind}
        document = Document(id=name, text=text, title=title, metadata=metadata)
    except InvalidDocumentError as error:
        report.skip(str(path), error.reason, error.detail)
        return None
    except OSError as error:
        report.skip(str(path), "unreadable file", error.strerror or str(error))
        return None
    if not has_text(document):
        report.skip(str(path), "empty text", "the file holds no text")
        return None
    return document if document.title else replace(document, title=path.stem)


def _modified(path: Path) -> str | None:
    moment = path.stat().st_mtime
    try:
        return datetime.datetime.fromtimestamp(moment, tz=datetime.UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # a broken clock or archive: a year that no calendar has
        return None


def _title_and_text(path: Path, kind: str, report: ReadReport) -> tuple[str, str]:
    data = read_all(path)
    if kind == "pdf":
        return pdf_to_text(data)
    source = _html_source(data) if kind == "html" else decode_text(data)
    try:
        return _MARKUP[kind](source)
    except Exception as error:  # parsers of markup fail in ways of their own; the words are still there
        report.note(str(path), "markup read as plain text", f"{kind}: {' '.join(str(error).split())[:200]}")
        return "", source.strip()


def _html_source(data: bytes) -> str:
    """Decode a page as UTF-8, else as it declares."""
    try:
        return decode_text(data)
    except InvalidDocumentError:
        declared = declared_encoding(data)
        if declared is None or b"\0" in data:
            raise
        try:
            return data.decode(declared)
        except (LookupError, UnicodeError):
            raise InvalidDocumentError("invalid text", f"the page declares {declared} and is not") from None
