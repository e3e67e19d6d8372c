"""The hashes of what was encoded, by which an unchanged text finds its vectors again.

A part that holds what an encoder made has them in `passage-hashes.npy`, (n, 16) uint8 (`retrieval.staging`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from indexes.array_writer import save_array
from indexes.arrays import ArrayFolder
from retrieval.staging import HASH_BYTES

HASHES = "passage-hashes"


class PassageHashes:
    """The hashes of a part's passages; compared with their checksums when they are first used.

    Args:
        folder: the part.
        n_passages: how many there must be.

    Raises:
        CorruptIndexError: the file is missing, or holds something else.
    """

    def __init__(self, folder: ArrayFolder, n_passages: int) -> None:
        self._stored = folder.checked(HASHES, np.uint8, (n_passages, HASH_BYTES))

    def whole(self) -> np.ndarray:
        """Return all of them, (n, 16) uint8."""
        return self._stored.whole()

    def of(self, positions: np.ndarray) -> np.ndarray:
        """Return a copy of those at some positions, (m, 16) uint8."""
        self._stored.touch(positions, positions + 1)
        return self._stored.values[positions]

    def find(self, hashes: np.ndarray) -> np.ndarray:
        """Return the position of a passage for each (m, 16) uint8 hash, -1 where there is none."""
        keys, order = self._sorted
        if not len(keys) or not len(hashes):
            return np.full(len(hashes), -1, np.int64)
        positions = order[np.minimum(np.searchsorted(keys, _keys(hashes)), len(keys) - 1)]
        return np.where((self.whole()[positions] == hashes).all(axis=1), positions, -1)

    @cached_property
    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        keys = _keys(self.whole())
        order = np.argsort(keys, kind="stable")
        return keys[order], order


def _keys(hashes: np.ndarray) -> np.ndarray:
    """Return the first 8 bytes of each hash as a number, the key to sort and search by."""
    return np.ascontiguousarray(hashes[:, :8]).view(np.uint64).ravel()


def write_hashes(directory: Path, hashes: np.ndarray) -> None:
    """Write the hashes of a part's passages, (n, 16)."""
    save_array(directory, HASHES, np.ascontiguousarray(hashes, dtype=np.uint8))


def join_hashes(hashes: Sequence[bytes]) -> np.ndarray:
    """Return 16-byte hashes as an (n, 16) array."""
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, HASH_BYTES)
