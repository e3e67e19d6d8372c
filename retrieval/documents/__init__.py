"""Documents and where they come from: files, folders, tables and data sets, read as a stream."""

from __future__ import annotations

from retrieval.documents.document import Document, metadata_json
from retrieval.documents.formats import FORMATS
from retrieval.documents.json_values import JSON
from retrieval.documents.reader import DocumentReader, read_documents
from retrieval.documents.report import ReadReport

__all__ = ["FORMATS", "JSON", "Document", "DocumentReader", "ReadReport", "metadata_json", "read_documents"]
