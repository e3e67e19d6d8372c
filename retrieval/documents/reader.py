"""Documents from any source, as a stream with a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from retrieval.documents.columns import ALL, AUTO, Columns
from retrieval.documents.document import Document
from retrieval.documents.formats import check_exists, check_format, read_path, recognise_format
from retrieval.documents.ir_datasets_source import PREFIX, load_dataset, read_ir_dataset
from retrieval.documents.json_values import shorten
from retrieval.documents.report import ReadReport
from retrieval.documents.rows import Item, documents_from_rows, has_text
from retrieval.errors import DocumentError

Element: TypeAlias = "str | Path | Document | Mapping[str, Any]"
Source: TypeAlias = "Element | Iterable[Element]"


class DocumentReader:
    """The documents of a source; made by `read_documents`.

    Iterate over it to get `Document` objects, or over `with_vectors()` where the source brings its own vectors. Each
    pass reads the source anew, holding one line, batch or file at a time, and starts a new `report`.

    Attributes:
        report: Counts of the current pass, or of the last one.
    """

    def __init__(self, source: Source, columns: Columns, format_name: str | None = None, strict: bool = False) -> None:
        single = isinstance(source, str | Path | Document | Mapping)
        self._source: Iterable[Any] = [source] if single else source  # type: ignore[assignment]
        self._columns = columns
        self._format = format_name
        self._strict = strict
        self._check_document: Callable[[Document], None] | None = None
        self._spent = False
        self.report = ReadReport(strict=strict)
        if format_name is not None:
            check_format(format_name)
        if isinstance(source, bytes) or not isinstance(self._source, Iterable):
            raise DocumentError(f"cannot read documents from {shorten(source)}; give a path, or documents")
        if isinstance(self._source, Sequence):
            for element in self._source:
                if isinstance(element, str | Path):
                    self._check(element)

    def skip_refused(self, check: Callable[[Document], None]) -> None:
        """Skip and count what a check refuses, like rows that cannot be read.

        Args:
            check: raises a `DocumentError` that names the document and what is wrong with it.
        """
        self._check_document = check

    def __iter__(self) -> Iterator[Document]:
        for document, _ in self._items():
            yield document

    def with_vectors(self, batch_size: int = 1024) -> Iterator[tuple[list[Document], np.ndarray]]:
        """Yield documents together with the vectors of the column that `read_documents` was told.

        Args:
            batch_size: Documents in a batch; the last one may have fewer.

        Yields:
            Documents, and their vectors, float32 (n_documents, d), finite, of one d in the whole source.

        Raises:
            DocumentError: No vector column was named, or a document's vector is missing, no list of numbers, not
                finite, or of another dimension than those before.
        """
        if self._columns.vector is None:
            raise DocumentError("no vector column; name it with read_documents(…, vector='column')")
        if batch_size < 1:
            raise DocumentError(f"batch_size must be at least 1, not {batch_size}")
        documents: list[Document] = []
        vectors: list[np.ndarray] = []
        dimension: int | None = None
        for document, value in self._items():
            vector = _vector(document, value, dimension)
            dimension = len(vector)
            documents.append(document)
            vectors.append(vector)
            if len(documents) == batch_size:
                yield documents, np.stack(vectors)
                documents, vectors = [], []
        if documents:
            yield documents, np.stack(vectors)

    def _items(self) -> Iterator[Item]:
        if self._spent:
            raise DocumentError("the source was an iterator and has been read; give a list or a path to read it again")
        self._spent = isinstance(self._source, Iterator)
        self.report = report = ReadReport(strict=self._strict)
        for item in self._read(report):
            if self._is_refused(item[0], report):
                continue
            report.read += 1
            yield item

    def _is_refused(self, document: Document, report: ReadReport) -> bool:
        if self._check_document is not None:
            try:
                self._check_document(document)
            except DocumentError as error:
                where = f"document {document.id!r}"
                report.skip(where, "unusable fields", str(error).removeprefix(f"{where}: "))
                return True
        return False

    def _read(self, report: ReadReport) -> Iterator[Item]:
        for number, element in enumerate(self._source, start=1):
            if isinstance(element, str | Path):
                yield from self._read_place(element, report)
            elif isinstance(element, Document):
                if has_text(element):
                    yield element, None
                else:
                    report.skip(f"document {number}", "empty text", f"{element.id!r} has neither text nor title")
            elif isinstance(element, Mapping):
                yield from documents_from_rows([(number, element)], "document", self._columns, report)
            else:
                report.skip(f"document {number}", "not an object", f"{shorten(element)}; give documents or mappings")

    def _read_place(self, place: str | Path, report: ReadReport) -> Iterator[Item]:
        name = self._dataset_name(place)
        if name is not None:
            return read_ir_dataset(name, self._columns, report)
        path = Path(place)
        return read_path(path, self._format or recognise_format(path), self._columns, report)

    def _check(self, place: str | Path) -> None:
        """Fail before the first document where a path is missing or its format unknown."""
        name = self._dataset_name(place)
        if name is not None:
            load_dataset(name)
        elif self._format is None:
            recognise_format(Path(place))
        else:
            check_exists(Path(place))

    def _dataset_name(self, place: str | Path) -> str | None:
        """Return the ir_datasets id that a source names, or None for a path."""
        if isinstance(place, str) and (place.startswith(PREFIX) or self._format == "ir_datasets"):
            return place.removeprefix(PREFIX)
        return None


def read_documents(
    source: Source,
    *,
    format: str | None = None,
    id: str = AUTO,
    text: str | Sequence[str] = AUTO,
    title: str | None = AUTO,
    metadata: str | Sequence[str] = ALL,
    vector: str | None = None,
    strict: bool = False,
) -> DocumentReader:
    """Read documents from files, folders, data sets or Python objects, as a stream.

    Formats: "folder" (text, Markdown, HTML, reStructuredText and PDF files), "beir" (a folder with corpus.jsonl),
    "msmarco" (collection.tsv), "jsonl", "csv", "tsv" (these also compressed by gzip or Zstandard), "parquet", "arrow",
    a single "text", "markdown", "html", "rst" or "pdf" file, and "ir_datasets" ("ir_datasets:msmarco-passage/dev").
    Rows that cannot be used are skipped and counted in the reader's `report`.

    Args:
        source: A path, an ir_datasets id, a document or mapping, or an iterable of these.
        format: The format of every path in the source; recognised by name and content if left out.
        id: Column of the id; "auto" recognises id, _id, docid, doc_id, docno, pid; "row" makes ids of the form
            "corpus.csv:17" from file name and line.
        text: Column of the text, or several, joined by line ends; "auto" recognises text, contents, body, passage,
            abstract, content.
        title: Column of the title; "auto" recognises title, headline, name; None for no titles.
        metadata: Columns to keep as metadata, or "all" for all others; a column "metadata" with objects is spread.
        vector: Column of ready-made vectors, for `DocumentReader.with_vectors`.
        strict: Raise a `DocumentError` at the first unusable row instead of counting it.

    Returns:
        A reader to iterate over; more than once, unless the source is an iterator.

    Raises:
        DocumentError: There is no such file or folder, its format is unknown, a named column is missing (while
            reading), or `strict` found a fault (while reading).
        MissingExtraError: The format needs a package that is not installed.
    """
    columns = Columns(
        id=id,
        text=text if isinstance(text, str) else tuple(text),
        title=title,
        metadata=metadata if isinstance(metadata, str) else tuple(metadata),
        vector=vector,
    )
    return DocumentReader(source, columns, format, strict)


def _vector(document: Document, value: Any, dimension: int | None) -> np.ndarray:
    """Check one document's vector: float32 (d,), finite, of the dimension of those before."""
    try:
        with np.errstate(over="ignore"):  # becomes infinity, which is refused below
            vector = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError, OverflowError):
        raise DocumentError(f"document {document.id!r}: {shorten(value)} is no vector of numbers") from None
    if vector.ndim != 1 or not len(vector):
        raise DocumentError(f"document {document.id!r} has no vector: {shorten(value)}; every document needs one")
    if dimension is not None and len(vector) != dimension:
        raise DocumentError(
            f"document {document.id!r}: its vector has {len(vector)} dimensions, those before {dimension}"
        )
    if not np.isfinite(vector).all():
        raise DocumentError(f"document {document.id!r}: its vector holds NaN or infinity")
    return vector
