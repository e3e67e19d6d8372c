"""The sparse vectors of one segment's passages: an inverted index, and where the passages stand in their documents.

Beside the index's own files the part holds `passage-rows.npy`, (n,) int32, the document of each passage, ascending, and
the passages' spans and hashes as the part of vectors has them (`passage_store`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from indexes.array_writer import save_array
from indexes.arrays import ArrayFolder
from indexes.errors import CorruptIndexError
from indexes.sparse_index import SparseIndex
from retrieval.collection.manifest import SparseEntry
from retrieval.collection.passage_hashes import PassageHashes
from retrieval.collection.passage_store import write_passage_sides

ROWS = "passage-rows"


class SparseStore:
    """Read access to the sparse vectors of one segment, by memory map.

    Args:
        directory: the part.
        n_passages: how many it must have.
        execution: how the vectors were computed.

    Attributes:
        index: the inverted index over the passages.
        rows: (n_passages,) int32, the document of each passage, ascending.
        execution: how the vectors were computed.

    Raises:
        CorruptIndexError: a file is missing or is not what it should be.
    """

    def __init__(self, directory: Path, n_passages: int, execution: dict[str, object]) -> None:
        folder = ArrayFolder(directory)
        self.index = SparseIndex.open(directory)
        self.execution = execution
        if self.index.n_documents != n_passages:
            raise CorruptIndexError(
                f"file damaged: {directory} holds {self.index.n_documents:,} sparse vectors, {n_passages:,} were "
                "written; restore it or index again"
            )
        self.rows: np.ndarray = folder.load(ROWS, np.int32, (n_passages,))
        if n_passages and not (self.rows[0] >= 0 and (self.rows[1:] >= self.rows[:-1]).all()):
            raise CorruptIndexError(
                f"file damaged: {directory / ROWS}.npy does not name documents in order; restore it or index again"
            )
        self._spans = folder.checked("passage-spans", np.int32, (n_passages, 2))
        self._hashes = PassageHashes(folder, n_passages)

    @property
    def n_passages(self) -> int:
        """Number of passages."""
        return len(self.rows)

    @property
    def spans(self) -> np.ndarray:
        """(n_passages, 2) int32, start and end in the document's full text."""
        return self._spans.whole()

    @property
    def hashes(self) -> np.ndarray:
        """(n_passages, 16) uint8, of the texts that were encoded."""
        return self._hashes.whole()

    @cached_property
    def one_each(self) -> bool:
        """Whether every document is exactly one passage, so that rows are positions."""
        return bool((self.rows == np.arange(len(self.rows))).all())

    def of_document(self, row: int) -> range:
        """Return the positions of a document's passages."""
        # Of the same type: NumPy would convert all rows first.
        return range(*np.searchsorted(self.rows, np.array([row, row + 1], self.rows.dtype)).tolist())

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """Return the position of a passage for each (m, 16) uint8 hash, -1 where there is none."""
        return self._hashes.find(hashes)

    def problems(self) -> Iterator[str]:
        """Say what no checksum finds: that the postings are not those of the documents' lists; reads everything."""
        from_documents = np.zeros(self.index.n_dimensions, np.int64)
        self.index.documents.count_members(np.arange(self.n_passages), from_documents)
        if (from_documents != self.index.document_frequencies()).any():
            yield "postings are not those of the passages' own lists"


def check_stores(recorded: SparseEntry, stores: Iterable[SparseStore]) -> None:
    """Check that segments hold what the manifest says of their vectors.

    Raises:
        CorruptIndexError: they are of another payload, or have dimensions that the encoder does not have.
    """
    for store in stores:
        index = store.index
        if index.payload != recorded.payload or index.n_dimensions > recorded.n_dimensions:
            raise CorruptIndexError(
                f"file damaged: {index.directory} holds {index.payload} of {index.n_dimensions:,} dimensions, the "
                f"sparse encoder makes {recorded.payload} of {recorded.n_dimensions:,}; restore it or index again"
            )


def write_sparse_sides(directory: Path, rows: np.ndarray, spans: np.ndarray, hashes: np.ndarray) -> None:
    """Write what accompanies the index: (n,) documents, (n, 2) spans and (n, 16) hashes of the passages."""
    save_array(directory, ROWS, np.ascontiguousarray(rows, dtype=np.int32))
    write_passage_sides(directory, spans, hashes)
