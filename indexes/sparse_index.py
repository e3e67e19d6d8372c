"""The inverted index of sparse vectors: impacts of 8 bits (learned sparse), or nothing (binary vectors)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np

from indexes.array_writer import save_array
from indexes.arrays import ArrayFolder
from indexes.documents import DocumentsWriter, PackedDocuments
from indexes.errors import CorruptIndexError, VectorError
from indexes.list_merge import Values, copy_documents, write_postings
from indexes.lists import Lists, offsets_of
from indexes.postings import Postings
from indexes.sparse_vectors import LARGEST_IMPACT, MOST_DIMENSIONS, SparseVectors

Payload = Literal["impacts", "binary"]

SHAPE = "sparse-shape"
"""Name of the file of (3,) int64: number of documents, number of dimensions, 1 for impacts and 0 for binary vectors."""

_LARGEST = 2**31 - 1


class SparseIndexWriter:
    """Writes an index of sparse vectors as a stream; a context manager.

    Documents' lists go to disk as they come; the postings are made when the block is left, in as many passes over them
    as keep the memory bounded.

    Args:
        directory: exists already; the files go directly into it, and the caller makes them durable.
        payload: "impacts" for vectors with weights from 1 to 255 (see `sparse_vectors.quantised`), "binary" for
            vectors without.
    """

    def __init__(self, directory: Path, payload: Payload) -> None:
        if payload not in ("impacts", "binary"):
            raise ValueError(f"unknown payload {payload!r}: 'impacts' or 'binary'")
        self._directory = directory
        self._payload = payload
        self._documents = DocumentsWriter(directory)
        self._counts = np.zeros(0, np.int64)
        self._n_documents = 0

    def __enter__(self) -> SparseIndexWriter:
        self._documents.__enter__()
        return self

    def add_many(self, vectors: SparseVectors) -> None:
        """Add documents; their rows follow those of the documents before.

        Raises:
            VectorError: the vectors are not in order, or are not what the payload says.
            ValueError: there are more documents than an index holds.
        """
        offsets, dimensions = vectors.checked().offsets, vectors.dimensions
        impacts = _impacts(vectors, self._payload)
        if self._n_documents + len(vectors) > _LARGEST:
            raise ValueError(f"an index holds at most {_LARGEST:,} documents; write smaller segments")
        counts = np.bincount(dimensions, minlength=len(self._counts))
        counts[: len(self._counts)] += self._counts
        self._counts = counts
        self._n_documents += len(vectors)
        members = dimensions.astype(np.int32, copy=False)
        self._documents.append(Lists(offsets.astype(np.int64, copy=False), members, impacts))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._documents.__exit__(kind, error, trace)
        if kind is None:
            _finish(self._directory, self._n_documents, self._counts, self._payload)


class SparseIndex:
    """One segment's index of sparse vectors; open it with `open`. Safe to use from several threads.

    Attributes:
        directory: where its files lie.
        documents: the vectors.
        postings: the dimensions' lists of documents; a list's number is its dimension.
        payload: "impacts" or "binary".
    """

    def __init__(self, directory: Path, documents: PackedDocuments, postings: Postings, payload: Payload) -> None:
        self.directory = directory
        self.documents = documents
        self.postings = postings
        self.payload: Payload = payload

    @classmethod
    def open(cls, directory: Path) -> SparseIndex:
        """Map an index's files.

        Raises:
            CorruptIndexError: a file is missing or is not what it should be; the message names it.
        """
        folder = ArrayFolder(directory)
        n_documents, n_dimensions, weighted = folder.load(SHAPE, np.int64, (3,)).tolist()
        if not (0 <= n_documents <= _LARGEST and 0 <= n_dimensions <= MOST_DIMENSIONS and weighted in (0, 1)):
            raise CorruptIndexError(f"file damaged: {directory / SHAPE}.npy holds impossible numbers; index again")
        documents = PackedDocuments.open(folder, n_documents)
        postings = Postings.open(folder, n_dimensions, with_values=bool(weighted), with_columns=bool(weighted))
        return cls(directory, documents, postings, "impacts" if weighted else "binary")

    @property
    def n_documents(self) -> int:
        """Number of documents, those without entries included."""
        return len(self.documents)

    @property
    def n_dimensions(self) -> int:
        """One more than the largest dimension that occurs."""
        return len(self.postings)

    @property
    def n_postings(self) -> int:
        """Number of entries of all vectors."""
        return self.postings.n_postings

    def vectors(self, rows: np.ndarray) -> SparseVectors:
        """Return documents' vectors, weights uint8, None for binary ones.

        Raises:
            CorruptIndexError: a vector is damaged.
        """
        lists = self.documents.some(rows, self.n_dimensions)
        _check_impacts(lists, self.payload)
        weights = lists.frequencies.astype(np.uint8) if self.payload == "impacts" else None
        return SparseVectors(lists.offsets, lists.members, weights)

    def document_frequencies(self) -> np.ndarray:
        """Return in how many documents each dimension occurs, (n_dimensions,) int64, deleted ones included."""
        return self.postings.counts()


def merge_sparse(inputs: Sequence[tuple[SparseIndex, np.ndarray]], order: np.ndarray, directory: Path) -> None:
    """Write one index of chosen documents of several; the files are those of an index built from these documents.

    Args:
        inputs: indexes of one payload, and the rows to keep of each, (n,) int64 ascending.
        order: (n_kept,) int64, which of the kept rows, counted one input after the other, comes first and so on.
        directory: exists already; the files go directly into it, and the caller makes them durable.

    Raises:
        CorruptIndexError: an input is damaged.
        ValueError: there are no inputs, they are of different payloads, rows are not in order, `order` does not fit, or
            there are more documents than an index holds.
    """
    inputs = [(index, np.ascontiguousarray(rows, np.int64)) for index, rows in inputs]
    payloads = {index.payload for index, _ in inputs}
    if len(payloads) != 1:
        raise ValueError(f"indexes of one payload can be merged, not of {sorted(payloads) or 'none'}")
    total = sum(len(rows) for _, rows in inputs)
    if len(order) != total or total > _LARGEST:
        raise ValueError(f"{total:,} rows are kept and {len(order):,} are ordered; an index holds at most {_LARGEST:,}")
    for index, rows in inputs:
        if len(rows) and not (rows[0] >= 0 and rows[-1] < index.n_documents and (np.diff(rows) > 0).all()):
            raise ValueError(f"rows to keep of {index.directory} must ascend from 0 to {index.n_documents - 1}")
    counts = np.zeros(max(index.n_dimensions for index, _ in inputs), np.int64)
    for index, rows in inputs:
        index.documents.count_members(rows, counts[: index.n_dimensions])
    sources = [(index.documents, rows, np.arange(index.n_dimensions, dtype=np.int32)) for index, rows in inputs]
    (payload,) = payloads
    copy_documents(sources, order, directory, lambda _first, lists: _check_impacts(lists, payload))
    used = np.flatnonzero(counts)
    _finish(directory, len(order), counts[: used[-1] + 1 if len(used) else 0], payload)


def _impacts(vectors: SparseVectors, payload: Payload) -> np.ndarray:
    """Return what is stored of each entry, (n_entries,) uint32; VectorError where it is not what the payload says."""
    weights = vectors.weights
    if weights is None:
        if payload == "impacts":
            raise VectorError("vectors without weights are indexed with payload 'binary'")
        return np.ones(len(vectors.dimensions), np.uint32)
    is_wrong = (weights < 1) | (weights > (LARGEST_IMPACT if payload == "impacts" else 1))
    if weights.dtype.kind == "f":
        is_wrong |= weights % 1 != 0
    wrong = np.flatnonzero(is_wrong)
    if len(wrong):
        found = f"entry {wrong[0]} is {weights[wrong[0]]}"
        if payload == "impacts":
            raise VectorError(f"impacts are integers from 1 to {LARGEST_IMPACT}, {found}; make them with `quantised`")
        raise VectorError(f"binary vectors have no weights but 1, {found}; index weighted ones with payload 'impacts'")
    return weights.astype(np.uint32)


def _check_impacts(lists: Lists, payload: Payload) -> None:
    """Raise CorruptIndexError where stored impacts are too large."""
    largest = int(lists.frequencies.max(initial=0))
    if largest > (LARGEST_IMPACT if payload == "impacts" else 1):
        raise lists.damaged(f"points to a vector with an impact of {largest:,}")


def _finish(directory: Path, n_documents: int, counts: np.ndarray, payload: Payload) -> None:
    """Make postings of the documents' lists that are on disk already, and write what else an index has."""
    values: Values | None = (lambda _rows, impacts: impacts.astype(np.uint8)) if payload == "impacts" else None
    documents = PackedDocuments.open(ArrayFolder(directory), n_documents)
    write_postings(directory, documents, offsets_of(counts), values, columns=payload == "impacts")
    save_array(directory, SHAPE, np.array([n_documents, len(counts), payload == "impacts"], np.int64))
