"""PDF to title and plain text, by the optional package pypdf."""

from __future__ import annotations

import io

from retrieval.documents.json_values import InvalidDocumentError
from retrieval.errors import MissingExtraError


def pdf_to_text(data: bytes) -> tuple[str, str]:
    """Read a PDF file; pages that are pictures have no text.

    Returns:
        The title that the file's properties state ("" if none), and the text, page after page.

    Raises:
        MissingExtraError: pypdf is not installed.
        InvalidDocumentError: The file is broken, or encrypted with a password.
    """
    try:
        import pypdf
    except ImportError:
        raise MissingExtraError("pypdf", "pdf", "reading PDF files") from None
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        pages = [page.extract_text() for page in reader.pages]
        title = (reader.metadata.title if reader.metadata else None) or ""
    except Exception as error:  # a damaged file makes pypdf fail with whatever its values do not support
        fault = " ".join(str(error).split()) or type(error).__name__
        raise InvalidDocumentError("unreadable PDF", fault) from None
    return _encodable(str(title)).strip(), _encodable("\n".join(pages)).strip()


def _encodable(text: str) -> str:
    """Replace what fonts without a proper character table leave behind: lone surrogates and NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")
