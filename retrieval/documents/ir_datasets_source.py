"""Documents of a data set of the optional package ir_datasets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from retrieval.documents.columns import AUTO, TEXT_NAMES, Columns
from retrieval.documents.report import ReadReport
from retrieval.documents.rows import Item, documents_from_rows
from retrieval.errors import DocumentError, MissingExtraError

PREFIX = "ir_datasets:"


def find_dataset(name: str) -> Any:
    """Look a data set up by its ir_datasets id, "msmarco-passage/dev".

    Raises:
        MissingExtraError: ir_datasets is not installed.
        DocumentError: There is no such data set.
    """
    try:
        import ir_datasets
    except ImportError:
        raise MissingExtraError("ir_datasets", "ir-datasets", "reading a data set of ir_datasets") from None
    try:
        return ir_datasets.load(name)
    except KeyError:
        raise DocumentError(
            f"no such data set in ir_datasets: {name!r}; its ids are listed at ir-datasets.com"
        ) from None


def load_dataset(name: str) -> Any:
    """Look a data set with documents up, see `find_dataset`.

    Raises:
        MissingExtraError: ir_datasets is not installed.
        DocumentError: There is no such data set, or it has no documents.
    """
    dataset = find_dataset(name)
    if not dataset.has_docs():
        raise DocumentError(f"the data set {name!r} of ir_datasets has no documents")
    return dataset


def read_ir_dataset(name: str, columns: Columns, report: ReadReport) -> Iterator[Item]:
    """Read the documents of a data set; its fields are the columns, its default text where none is called text."""
    dataset = load_dataset(name)
    yield from documents_from_rows(_rows(dataset, name, columns), PREFIX + name, columns, report)


def _rows(dataset: Any, name: str, columns: Columns) -> Iterator[tuple[int, dict[str, Any]]]:
    documents = dataset.docs_iter()
    number = 0
    while True:
        try:
            document = next(documents, None)
        except Exception as error:  # a download that fails, in any of the ways of the libraries beneath
            fault = " ".join(str(error).split()) or type(error).__name__
            raise DocumentError(f"ir_datasets cannot provide the documents of {name!r}: {fault}") from None
        if document is None:
            return
        number += 1
        row = document._asdict()
        if columns.text == AUTO and not any(field in row for field in TEXT_NAMES):
            row["text"] = document.default_text()
        yield number, row
