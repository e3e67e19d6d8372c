"""Vectors of unequal size that wait for their commit, so that an interrupted run goes on where it stopped.

What `staging` does for vectors of one dimension, for those that come as several flat arrays: sparse vectors, vectors of
tokens. A block holds `hashes`, (m, 16) uint8, and the arrays of the m vectors that belong to them, as they are stored.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from retrieval import staging
from retrieval.encoders.base import fingerprint

logger = logging.getLogger(__name__)

VectorsT = TypeVar("VectorsT", bound=Sized)


class RaggedStaging(ABC, Generic[VectorsT]):
    """The staged vectors of one encoder; opening it adopts what is valid and removes what is not.

    Args:
        directory: the staging area; it is created by the first block.
        key: what vectors are kept apart by: who made them, in which precision and form.
        kinds: for each array of a block, `hashes` aside, the type's name in the header and in NumPy.
        what: what is staged, for people.
    """

    def __init__(
        self, directory: Path, key: Mapping[str, Any], kinds: Mapping[str, tuple[str, type]], what: str
    ) -> None:
        self._folder = directory / fingerprint(key)
        self._kinds: dict[str, tuple[str, type]] = {"hashes": ("U8", np.uint8), **kinds}
        self._hashes: list[np.ndarray] = []  # (m, 16) uint8 each
        self._vectors: list[VectorsT] = []  # written ones are mapped
        self._n_written = 0  # of these, the first so many are on disk
        self._places: staging.StagedPlaces | None = None
        self._durable_since = self._last_added = time.monotonic()
        for block in staging.whole_blocks(self._folder, self._kinds, self._is_block):
            self._hashes.append(np.array(block["hashes"]))
            self._vectors.append(self.vectors_of(block))
        self._n_written = len(self._hashes)
        if self._hashes:
            logger.info("going on with %s %s that an interrupted run had encoded", f"{len(self):,}", what)

    def __len__(self) -> int:
        """Staged vectors."""
        return sum(map(len, self._hashes))

    @abstractmethod
    def vectors_of(self, block: Mapping[str, np.ndarray]) -> VectorsT:
        """Return the vectors of a block's arrays."""

    @abstractmethod
    def arrays_of(self, vectors: VectorsT) -> dict[str, np.ndarray]:
        """Return the arrays that a block holds of vectors."""

    @abstractmethod
    def fits(self, vectors: VectorsT) -> bool:
        """Tell whether vectors that were read are such as this encoder makes; they may be anything."""

    @abstractmethod
    def gathered(self, blocks: Sequence[VectorsT], numbers: np.ndarray) -> VectorsT:
        """Return chosen vectors of several blocks, or of none, by numbers counted one block after the other."""

    def add(self, hashes: np.ndarray, vectors: VectorsT) -> None:
        """Stage vectors; they are durable after at most `staging.BLOCK_SECONDS` of further calls, or after `flush`.

        Args:
            hashes: (m, 16) uint8.
            vectors: m of them, as they are stored.
        """
        if not len(hashes):
            return
        self._hashes.append(np.ascontiguousarray(hashes, np.uint8))
        self._vectors.append(vectors)
        self._places = None
        arrays = [array for block in self._vectors[self._n_written :] for array in self.arrays_of(block).values()]
        waiting = sum(array.nbytes for array in arrays)
        now = time.monotonic()
        # The next call may come as much later as this one did.
        due = now - self._durable_since + (now - self._last_added) >= staging.BLOCK_SECONDS
        self._last_added = now
        if waiting >= staging.BLOCK_BYTES or due:
            self.flush()

    def flush(self) -> None:
        """Write the waiting vectors as a block."""
        waiting = self._vectors[self._n_written :]
        if not waiting:
            return
        hashes = np.concatenate(self._hashes[self._n_written :])
        arrays = self.arrays_of(self.gathered(waiting, np.arange(len(hashes))))
        path = staging.write_block(self._folder, {"hashes": hashes, **arrays})
        self._hashes[self._n_written :] = [hashes]
        self._vectors[self._n_written :] = [self.vectors_of(staging.map_block(path, self._kinds))]
        self._n_written += 1
        self._places = None
        self._durable_since = time.monotonic()

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, VectorsT]:
        """Return which of (m, 16) hashes are staged, (m,) bool, and the vectors of those, in their order."""
        if not len(self) or not len(hashes):
            return np.zeros(len(hashes), bool), self.gathered([], np.empty(0, np.int64))
        if self._places is None:
            self._places = staging.StagedPlaces.of(self._hashes)
        found, blocks, rows = self._places.find(hashes)
        used, numbers = np.unique(blocks, return_inverse=True)
        if not len(used):
            return found, self.gathered([], np.empty(0, np.int64))
        chosen = [self._vectors[block] for block in used.tolist()]
        firsts = np.cumsum([0, *map(len, chosen)])[:-1]
        return found, self.gathered(chosen, firsts[numbers] + rows)

    def clear(self) -> None:
        """Remove the staged vectors of this key: they are committed."""
        self._hashes, self._vectors, self._places, self._n_written = [], [], None, 0
        staging.remove_blocks(self._folder)

    def _is_block(self, block: Mapping[str, np.ndarray]) -> bool:
        vectors = self.vectors_of(block)
        return self.fits(vectors) and block["hashes"].shape == (len(vectors), staging.HASH_BYTES)
