"""One immutable segment of a collection, opened: documents, inverted index, vectors, and which rows are alive."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexes import block_checksums
from indexes.array_writer import save_array
from indexes.arrays import load_array
from indexes.errors import CorruptIndexError
from indexes.storage import check_sizes
from retrieval.collection.document_store import DocumentStore
from retrieval.collection.manifest import PARTS, Part, SegmentEntry

if TYPE_CHECKING:
    from indexes.inverted import InvertedIndex
    from retrieval.collection.passage_store import PassageStore
    from retrieval.collection.sparse_store import SparseStore
    from retrieval.collection.token_store import StateStore
    from retrieval.filters import Filter
    from retrieval.metadata_columns import MetadataColumns


class Segment:
    """Everything of one segment, mapped at once; `alive` may differ between two openings of the same parts.

    Attributes:
        entry: what the manifest says of it.
        documents: the stored documents.
        lexical: the inverted index over them.
        passages: their vectors; None in a lexical collection.
        sparse: their sparse vectors; None in a collection without.
        tokens: their states, by the name of the network's stage.
        alive: (n_documents,) bool, None when no row is deleted.
    """

    def __init__(self, directory: Path, entry: SegmentEntry) -> None:
        from indexes.inverted import InvertedIndex

        parts = directory / PARTS
        for part in entry.parts:
            check_part(directory, part)
        self.entry = entry
        self.documents = DocumentStore(parts / entry.documents.name, entry.n_documents)
        self.lexical: InvertedIndex = InvertedIndex.open(parts / entry.lexical.name)
        if self.lexical.n_documents != entry.n_documents:
            raise CorruptIndexError(
                f"file damaged: {parts / entry.lexical.name} is about {self.lexical.n_documents:,} documents, the "
                f"segment has {entry.n_documents:,}; restore it or index again"
            )
        self.passages: PassageStore | None = None
        if entry.dense:
            from retrieval.collection.passage_store import PassageStore

            self.passages = PassageStore(parts / entry.dense.part.name, entry.dense.n_passages, entry.dense.execution)
            _check_rows(parts / entry.dense.part.name, self.passages.vectors.rows, entry)
        self.sparse: SparseStore | None = None
        if entry.sparse:
            from retrieval.collection.sparse_store import SparseStore

            self.sparse = SparseStore(parts / entry.sparse.part.name, entry.sparse.n_passages, entry.sparse.execution)
            _check_rows(parts / entry.sparse.part.name, self.sparse.rows, entry)
        self.tokens: dict[str, StateStore] = {}
        for name, tokens in entry.tokens.items():
            from retrieval.collection.token_store import StateStore

            self.tokens[name] = StateStore(parts / tokens.part.name, tokens, entry.n_documents)
        self.alive = read_tombstones(parts, entry)

    def with_entry(self, directory: Path, entry: SegmentEntry) -> Segment:
        """Return the segment as another manifest sees it: the same mapped files, other tombstones or vectors."""
        if entry == self.entry:
            return self
        # Checksums included: a collection that was removed and created again may use the same names.
        if _immutable(entry) != _immutable(self.entry):
            return Segment(directory, entry)
        other = object.__new__(Segment)
        other.__dict__.update(self.__dict__)
        other.entry = entry
        if entry.tombstones:
            check_part(directory, entry.tombstones)
        other.alive = read_tombstones(directory / PARTS, entry)
        return other

    @property
    def name(self) -> str:
        """The segment's identity within its collection."""
        return self.entry.documents.name

    @property
    def n_alive(self) -> int:
        """Documents that are not deleted."""
        return self.entry.n_documents - self.entry.n_deleted

    @cached_property
    def columns(self) -> MetadataColumns:
        """Metadata by field, for filters."""
        from retrieval.metadata_columns import MetadataColumns

        return MetadataColumns(self.entry.n_documents, self.documents.metadata)

    def matching(self, where: Filter | None) -> np.ndarray | None:
        """Return the rows that are alive and pass the filter, (n_documents,) bool; None when all do."""
        if where is None:
            return self.alive
        passing = self.columns.mask(where)
        return passing if self.alive is None else passing & self.alive

    def is_alive(self, row: int) -> bool:
        """Tell whether a row is not deleted."""
        return self.alive is None or bool(self.alive[row])

    def alive_rows(self) -> np.ndarray:
        """Return the rows that are not deleted, ascending."""
        return np.arange(self.entry.n_documents) if self.alive is None else np.flatnonzero(self.alive)


def _immutable(entry: SegmentEntry) -> tuple[object, ...]:
    """Return what two openings of one segment have in common: all but its tombstones."""
    return entry.documents, entry.lexical, entry.dense, entry.sparse, entry.tokens, entry.n_documents


def _check_rows(directory: Path, rows: np.ndarray, entry: SegmentEntry) -> None:
    """Refuse passages of documents that the segment does not have."""
    if len(rows) and rows[-1] >= entry.n_documents:
        raise CorruptIndexError(
            f"file damaged: {directory / 'passage-rows.npy'} names row {rows[-1]:,}, the segment has "
            f"{entry.n_documents:,} documents; restore it or index again"
        )


def check_part(directory: Path, part: Part) -> None:
    """Check that a part's files are there, each with its size, and that they can be checked further.

    Raises:
        CorruptIndexError: naming what is wrong.
    """
    if block_checksums.NAME not in part.files:
        raise CorruptIndexError(
            f"{directory / PARTS / part.name} has no block checksums: a version before the format was fixed wrote it; "
            "index again"
        )
    check_sizes(directory / PARTS / part.name, part.files)


def read_tombstones(parts: Path, entry: SegmentEntry) -> np.ndarray | None:
    """Return which rows are alive, (n_documents,) bool; None when all are."""
    if entry.tombstones is None:
        return None
    directory = parts / entry.tombstones.name
    deleted = load_array(directory, "deleted-rows", np.int32, (entry.n_deleted,))
    ascending = len(deleted) and deleted[0] >= 0 and (deleted[1:] > deleted[:-1]).all()
    if not ascending or deleted[-1] >= entry.n_documents:
        raise CorruptIndexError(
            f"file damaged: {directory / 'deleted-rows.npy'} does not name rows of the segment in order; restore it or "
            "index again"
        )
    alive = np.ones(entry.n_documents, bool)
    alive[deleted] = False
    return alive


def write_tombstones(directory: Path, alive: np.ndarray) -> None:
    """Write the deleted rows of a segment, ascending."""
    save_array(directory, "deleted-rows", np.flatnonzero(~alive).astype(np.int32))
