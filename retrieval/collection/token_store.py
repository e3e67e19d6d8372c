"""The stored states of one segment's documents: one block of token vectors for each, and the hash of what was encoded.

Beside the token store's own files the part holds `passage-hashes.npy`, (n, 16) uint8, by which an unchanged document
finds its states again, and equal ones are known to be equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from indexes.arrays import ArrayFolder
from indexes.errors import CorruptIndexError
from indexes.token_store import TokenStore
from indexes.token_vectors import TokenVectors, gathered
from retrieval.collection.manifest import TokensEntry, TokensPart
from retrieval.collection.passage_hashes import PassageHashes


class StateStore:
    """Read access to the states of one segment, by memory map.

    Args:
        directory: the part.
        part: what the manifest says of it.
        n_documents: of the segment; each has one block of states.

    Attributes:
        states: the token vectors, by the document's row.
        hashes: of the texts that were encoded, likewise.
        execution: how the states were computed.

    Raises:
        CorruptIndexError: a file is missing or is not what it should be, or a document is without states.
    """

    def __init__(self, directory: Path, part: TokensPart, n_documents: int) -> None:
        folder = ArrayFolder(directory)
        self.states = TokenStore(folder, part.storage)
        if len(self.states) != n_documents or self.states.n_tokens != part.n_tokens:
            raise CorruptIndexError(
                f"file damaged: {directory} holds {self.states.n_tokens:,} states of {len(self.states):,} documents, "
                f"{part.n_tokens:,} of {n_documents:,} were written; restore it or index again"
            )
        self.hashes = PassageHashes(folder, n_documents)
        self.execution = part.execution
        self.directory = directory

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.states)

    def problems(self) -> Iterator[str]:
        """Say what no checksum finds: states that are no numbers; reads everything."""
        yield from self.states.problems()

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """Return the row of a document for each (m, 16) uint8 hash, -1 where there is none."""
        return self.hashes.find(hashes)


def check_stores(name: str, recorded: TokensEntry, stores: Iterable[StateStore]) -> None:
    """Check that segments hold what the manifest says of the states of a name.

    Raises:
        CorruptIndexError: they are of another width.
    """
    for store in stores:
        if store.states.width != recorded.width:
            raise CorruptIndexError(
                f"file damaged: {store.directory} holds states of {store.states.width} numbers, those of {name!r} have "
                f"{recorded.width}; restore it or index again"
            )


def gather_states(stores: Sequence[StateStore], segments: np.ndarray, rows: np.ndarray) -> TokenVectors:
    """Return the states of documents of several segments, packed, compared with their checksums.

    Args:
        stores: of each segment, all of one width and form.
        segments: (n,) numbers of the documents' segments.
        rows: (n,) int64, their rows in these.

    Raises:
        CorruptIndexError: states are not what was written.
    """
    used, numbers = np.unique(segments, return_inverse=True)
    if len(used) == 1:
        return stores[int(used[0])].states.gather(rows)
    blocks = [stores[number].states.gather(rows[segments == number]) for number in used.tolist()]
    # Each document's place in its segment's block, counted over the blocks one after the other.
    places = np.empty(len(rows), np.int64)
    places[np.argsort(numbers, kind="stable")] = np.arange(len(rows))
    return gathered(blocks, places)
