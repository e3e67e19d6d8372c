"""Encoded passages that wait for their commit: what an interrupted run had encoded is not encoded again.

A staging area is a folder beside the segments that no manifest names, so that readers never see it. Below it, each key
(who encoded, in which precision) has a folder of blocks. A block is one safetensors file with `hashes`, (m, 16) uint8,
and `vectors`, (m, d) float32, and its name is the SHA-256 digest of its content: a block is whole, or it is not one.
Only the writer of a collection, under its lock, opens a staging area.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import mmap
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from indexes import file_operations
from indexes.errors import NotDurableError, StorageError
from indexes.plain_files import check_directory, open_plain
from indexes.storage import replace_file
from retrieval.encoders.base import Encoder, fingerprint

logger = logging.getLogger(__name__)

BLOCK_BYTES = 64 << 20
"""A block is written when the waiting vectors take this much."""

BLOCK_SECONDS = 30.0
"""As much work as a killed process loses: a block is written before the work since the last one takes longer, if the
next step takes no longer than the one before."""

HASH_BYTES = 16


def passage_hash(text: str) -> bytes:
    """Return the 16 bytes (BLAKE2b) that stand for the text of a passage: equal texts, equal vectors."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


def passage_hashes(texts: Sequence[str]) -> np.ndarray:
    """Return the hashes of passages, (n, 16) uint8."""
    joined = b"".join(passage_hash(text) for text in texts)
    return np.frombuffer(joined, np.uint8).reshape(len(texts), HASH_BYTES)


def staging_key(encoder: Encoder) -> dict[str, Any]:
    """Return what staged vectors are kept apart by: the encoder's identity, and its precision, which must not mix."""
    return {"identity": encoder.identity(), "precision": encoder.execution().get("precision")}


class Staging:
    """The staged vectors of one encoder; opening it adopts what is valid and removes what is not.

    Args:
        directory: the staging area; it is created by the first block.
        key: see `staging_key`.
        dimension: of the vectors.
    """

    def __init__(self, directory: Path, key: Mapping[str, Any], dimension: int) -> None:
        self._folder = directory / fingerprint(key)
        self._dimension = dimension
        self._hashes: list[np.ndarray] = []  # (m, 16) uint8 each
        self._vectors: list[np.ndarray] = []  # (m, d) float32 each; written ones are mapped
        self._n_written = 0  # of these, the first so many are on disk
        self._durable_since = self._last_added = time.monotonic()
        self._index: _Index | None = None
        self._adopt()

    def __len__(self) -> int:
        """Staged vectors."""
        return sum(map(len, self._hashes))

    @classmethod
    def for_encoder(cls, directory: Path, encoder: Encoder) -> Staging:
        """Open the staged vectors of an encoder."""
        return cls(directory, staging_key(encoder), encoder.dimension)

    def add(self, hashes: np.ndarray, vectors: np.ndarray) -> None:
        """Stage vectors; they are durable after at most `BLOCK_SECONDS` of further calls, or after `flush`.

        Args:
            hashes: (m, 16) uint8.
            vectors: (m, d) float32, finite.
        """
        if not len(hashes):
            return
        self._hashes.append(np.ascontiguousarray(hashes, np.uint8))
        self._vectors.append(np.ascontiguousarray(vectors, np.float32))
        self._index = None
        waiting = sum(vectors.nbytes for vectors in self._vectors[self._n_written :])
        now = time.monotonic()
        # The next call may come as much later as this one did.
        due = now - self._durable_since + (now - self._last_added) >= BLOCK_SECONDS
        self._last_added = now
        if waiting >= BLOCK_BYTES or due:
            self.flush()

    def flush(self) -> None:
        """Write the waiting vectors as a block."""
        if self._n_written == len(self._hashes):
            return
        hashes = np.concatenate(self._hashes[self._n_written :])
        vectors = np.concatenate(self._vectors[self._n_written :])
        path = _write_block(self._folder, hashes, vectors)
        self._hashes[self._n_written :] = [hashes]
        self._vectors[self._n_written :] = [_map_block(path)[1]]
        self._n_written += 1
        self._index = None
        self._durable_since = time.monotonic()

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Look passages up.

        Args:
            hashes: (m, 16) uint8.

        Returns:
            (m,) bool, which of them are staged; (found, d) float32, the vectors of those, in their order.
        """
        if not len(self) or not len(hashes):
            return np.zeros(len(hashes), bool), np.empty((0, self._dimension), np.float32)
        index = self._sorted()
        at = np.minimum(np.searchsorted(index.keys, _keys(hashes)), len(index.keys) - 1)
        found = (index.hashes[at] == hashes).all(axis=1)
        blocks, rows = index.blocks[at[found]], index.rows[at[found]]
        vectors = np.empty((len(rows), self._dimension), np.float32)
        for block in np.unique(blocks).tolist():
            here = blocks == block
            vectors[here] = self._vectors[block][rows[here]]
        return found, vectors

    def clear(self) -> None:
        """Remove the staged vectors of this key: they are committed."""
        self._hashes, self._vectors, self._index, self._n_written = [], [], None, 0
        file_operations.remove_tree(self._folder)
        with contextlib.suppress(OSError):
            file_operations.remove_directory(self._folder.parent)  # unless another encoder's vectors wait in it

    def _adopt(self) -> None:
        for folder in (self._folder.parent, self._folder):
            if not os.path.lexists(folder):
                return
            check_directory(folder)
        for path in sorted(self._folder.iterdir()):
            block = self._checked(path)
            if block is None:
                # A writer that was killed leaves a temporary file; any other that is not whole is damaged.
                level = logging.INFO if path.suffix == ".tmp" else logging.WARNING
                logger.log(level, "removing %s: not a whole block of encoded passages", path)
                file_operations.remove_tree(path)
                continue
            self._hashes.append(block[0])
            self._vectors.append(block[1])
        self._n_written = len(self._hashes)
        if self._hashes:
            logger.info("going on with %s passages that an interrupted run had encoded", f"{len(self):,}")

    def _checked(self, path: Path) -> tuple[np.ndarray, np.ndarray] | None:
        try:
            if path.suffix != ".safetensors":
                return None
            with open_plain(path) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != path.stem:
                    return None
            hashes, vectors = _map_block(path)
        except (OSError, StorageError, ValueError, ArithmeticError, LookupError, TypeError, RecursionError):
            return None
        fits = vectors.shape == (len(hashes), self._dimension) and hashes.shape == (len(hashes), HASH_BYTES)
        return (np.array(hashes), vectors) if fits and np.isfinite(vectors).all() else None

    def _sorted(self) -> _Index:
        if self._index is None:
            hashes = np.concatenate(self._hashes)
            sizes = [len(block) for block in self._hashes]
            blocks = np.repeat(np.arange(len(sizes)), sizes)
            rows = np.concatenate([np.arange(size) for size in sizes])
            keys = _keys(hashes)
            order = np.argsort(keys, kind="stable")
            self._index = _Index(keys[order], hashes[order], blocks[order], rows[order])
        return self._index


class _Index(NamedTuple):
    """Where each staged passage is, by ascending key: its hash (n, 16), its block and its row there."""

    keys: np.ndarray
    hashes: np.ndarray
    blocks: np.ndarray
    rows: np.ndarray


def _keys(hashes: np.ndarray) -> np.ndarray:
    """Return the first 8 bytes of each hash as a number, to sort and search by."""
    return np.ascontiguousarray(hashes[:, :8]).view(np.uint64).ravel()


def _write_block(folder: Path, hashes: np.ndarray, vectors: np.ndarray) -> Path:
    from safetensors.numpy import save

    content = save({"hashes": hashes, "vectors": vectors})
    path = folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
    for above in (folder.parent, folder):  # but not the collection's directory: without that, nothing is to be kept
        if not above.exists():
            file_operations.make_directory(above)
    try:
        # The folders, too: a writer that was killed may have left them without making them durable.
        replace_file(path, content, [folder.parent.parent, folder.parent])
    except NotDurableError as error:  # it is there, and is encoded again should a power failure take it
        logger.warning("%s", error)
    return path


def _map_block(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Map the two arrays of a block: 8 bytes with the header's length, the header in JSON, then the data."""
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > size:
            raise ValueError(f"{path} is shorter than its header says")
        header = json.loads(file.read(length))
        content = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    arrays = []
    for name, code, dtype in (("hashes", "U8", np.uint8), ("vectors", "F32", np.float32)):
        described = header[name]
        n_rows, width = map(int, described["shape"])
        begin, end = (8 + length + int(place) for place in described["data_offsets"])
        if described["dtype"] != code or n_rows < 0 or width < 0:
            raise ValueError(f"{path} holds {name} as {described['dtype']} {described['shape']}")
        if not 0 <= begin <= end <= size or end - begin != n_rows * width * np.dtype(dtype).itemsize:
            raise ValueError(f"{path} has another size than its header says")
        arrays.append(content[begin:end].view(dtype).reshape(n_rows, width))
    return arrays[0], arrays[1]
