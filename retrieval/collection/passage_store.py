"""The passages of one segment: their vectors, where they stand in their document, and the hash of what was encoded.

Beside the vector store's own files the part holds `passage-spans.npy`, (n, 2) int32, character positions in the
document's full text, and `passage-hashes.npy`, (n, 16) uint8, by which an unchanged passage finds its vector again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from indexes.array_writer import save_array
from indexes.arrays import ArrayFolder
from indexes.errors import CorruptIndexError
from indexes.vectors import VectorStore
from retrieval.collection.passage_hashes import PassageHashes, write_hashes


class PassageStore:
    """Read access to the passages of one segment, by memory map.

    Args:
        directory: the part.
        n_passages: how many it must have.
        execution: how the vectors were computed.

    Attributes:
        vectors: the vector store; searches read its vectors without comparing them with their checksums.
        execution: how the vectors were computed.
    """

    def __init__(self, directory: Path, n_passages: int, execution: dict[str, object]) -> None:
        folder = ArrayFolder(directory)
        self.vectors = VectorStore.from_folder(folder)
        if self.vectors.n_passages != n_passages:
            raise CorruptIndexError(
                f"file damaged: {directory / 'vectors.npy'} holds {self.vectors.n_passages:,} vectors, {n_passages:,} "
                "were written; restore it or index again"
            )
        self._spans = folder.checked("passage-spans", np.int32, (n_passages, 2))
        self._hashes = PassageHashes(folder, n_passages)
        self.execution = execution

    @property
    def spans(self) -> np.ndarray:
        """(n_passages, 2) int32, start and end in the document's full text."""
        return self._spans.whole()

    @property
    def hashes(self) -> np.ndarray:
        """(n_passages, 16) uint8, of the texts that were encoded."""
        return self._hashes.whole()

    def of_document(self, row: int) -> range:
        """Return the positions of a document's passages."""
        return range(*self.vectors.passages_of(row))

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """Return the position of a passage for each hash, -1 where there is none.

        Args:
            hashes: (m, 16) uint8.
        """
        return self._hashes.find(hashes)


def write_passage_sides(directory: Path, spans: np.ndarray, hashes: np.ndarray) -> None:
    """Write what accompanies the vectors: (n, 2) spans and (n, 16) hashes."""
    save_array(directory, "passage-spans", np.ascontiguousarray(spans, dtype=np.int32))
    write_hashes(directory, hashes)
