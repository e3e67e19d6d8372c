"""Sparse vectors that wait for their commit, so that an interrupted run goes on where it stopped; see `staging`.

A block holds `hashes`, (m, 16) uint8, `offsets`, (m + 1,) int64, `dimensions`, (n,) int32, and, unless the vectors are
binary, `weights`, (n,) uint8: vectors as they will be stored.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexes.errors import VectorError
from indexes.sparse_vectors import SparseVectors
from retrieval import staging
from retrieval.encoders.base import fingerprint
from retrieval.sparse_encoding import gathered

if TYPE_CHECKING:
    from retrieval.encoders.sparse import SparseEncoder

logger = logging.getLogger(__name__)

_BYTES_PER_ENTRY = 5


class SparseStaging:
    """The staged sparse vectors of one encoder; opening it adopts what is valid and removes what is not.

    Args:
        directory: the staging area; it is created by the first block.
        encoder: whose vectors they are.
        largest_weight: the weight that is stored as impact 255; None for binary vectors. Vectors of another scale are
            others.
    """

    def __init__(self, directory: Path, encoder: SparseEncoder, largest_weight: float | None) -> None:
        key: dict[str, Any] = {
            "identity": encoder.identity(),
            "precision": encoder.execution().get("precision"),
            "largest_weight": largest_weight,
        }
        self._folder = directory / fingerprint(key)
        self._n_dimensions = encoder.n_dimensions
        self._kinds: dict[str, tuple[str, type]] = {
            "hashes": ("U8", np.uint8),
            "offsets": ("I64", np.int64),
            "dimensions": ("I32", np.int32),
            **({} if largest_weight is None else {"weights": ("U8", np.uint8)}),
        }
        self._hashes: list[np.ndarray] = []  # (m, 16) uint8 each
        self._vectors: list[SparseVectors] = []  # written ones are mapped
        self._n_written = 0  # of these, the first so many are on disk
        self._places: staging.StagedPlaces | None = None
        self._durable_since = self._last_added = time.monotonic()
        for block in staging.whole_blocks(self._folder, self._kinds, self._fits):
            self._hashes.append(np.array(block["hashes"]))
            self._vectors.append(_vectors_of(block))
        self._n_written = len(self._hashes)
        if self._hashes:
            logger.info("going on with %s sparse vectors that an interrupted run had encoded", f"{len(self):,}")

    def __len__(self) -> int:
        """Staged vectors."""
        return sum(map(len, self._hashes))

    def add(self, hashes: np.ndarray, vectors: SparseVectors) -> None:
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
        waiting = sum(len(block.dimensions) for block in self._vectors[self._n_written :]) * _BYTES_PER_ENTRY
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
        vectors = gathered(waiting, np.arange(len(hashes)))
        arrays = {"hashes": hashes, "offsets": vectors.offsets, "dimensions": vectors.dimensions}
        if vectors.weights is not None:
            arrays["weights"] = vectors.weights
        path = staging.write_block(self._folder, arrays)
        self._hashes[self._n_written :] = [hashes]
        self._vectors[self._n_written :] = [_vectors_of(staging.map_block(path, self._kinds))]
        self._n_written += 1
        self._places = None
        self._durable_since = time.monotonic()

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, SparseVectors]:
        """Return which of (m, 16) hashes are staged, (m,) bool, and the vectors of those, in their order."""
        if not len(self) or not len(hashes):
            return np.zeros(len(hashes), bool), gathered([], np.empty(0, np.int64))
        if self._places is None:
            self._places = staging.StagedPlaces.of(self._hashes)
        found, blocks, rows = self._places.find(hashes)
        used, numbers = np.unique(blocks, return_inverse=True)
        firsts = np.cumsum([0, *(len(self._vectors[block]) for block in used.tolist())])[:-1]
        if not len(used):
            return found, gathered([], np.empty(0, np.int64))
        return found, gathered([self._vectors[block] for block in used.tolist()], firsts[numbers] + rows)

    def clear(self) -> None:
        """Remove the staged vectors of this key: they are committed."""
        self._hashes, self._vectors, self._places, self._n_written = [], [], None, 0
        staging.remove_blocks(self._folder)

    def _fits(self, block: Mapping[str, np.ndarray]) -> bool:
        hashes, vectors = block["hashes"], _vectors_of(block)
        try:
            vectors.checked()
        except VectorError:
            return False
        positive = vectors.weights is None or bool((vectors.weights > 0).all())
        below = int(vectors.dimensions.max(initial=-1)) < self._n_dimensions
        return hashes.shape == (len(vectors), staging.HASH_BYTES) and below and positive


def _vectors_of(block: Mapping[str, np.ndarray]) -> SparseVectors:
    return SparseVectors(block["offsets"], block["dimensions"], block.get("weights"))
