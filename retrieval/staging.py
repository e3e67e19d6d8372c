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
import math
import mmap
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
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

_KINDS: dict[str, tuple[str, type]] = {"hashes": ("U8", np.uint8), "vectors": ("F32", np.float32)}


def passage_hash(text: str) -> bytes:
    """Return the 16 bytes (BLAKE2b) that stand for the text of a passage: equal texts, equal vectors."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=HASH_BYTES).digest()


def passage_hashes(texts: Sequence[str]) -> np.ndarray:
    """Return the hashes of passages, (n, 16) uint8."""
    joined = b"".join(passage_hash(text) for text in texts)
    return np.frombuffer(joined, np.uint8).reshape(len(texts), HASH_BYTES)


def staging_key(encoder: Encoder) -> dict[str, Any]:
    """Return what staged vectors are kept apart by: the encoder's identity, and its precision, which must not mix."""
    return {"identity": encoder.identity(), "precision": precision_key(encoder.execution())}


def precision_key(execution: Mapping[str, Any]) -> str | None:
    """Return what figures are kept apart by that one model computed in several ways: those of eight bits by all of it.

    Floating point is the same to rounding whatever computes it; each runtime has eight bits of its own, and ranges.
    """
    precision = execution.get("precision")
    parts = [execution.get(name) for name in ("runtime", "calibration")] if precision == "int8" else []
    return None if precision is None else ", ".join(map(str, filter(None, [precision, *parts])))


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
        self._index: StagedPlaces | None = None
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
        path = write_block(self._folder, {"hashes": hashes, "vectors": vectors})
        self._hashes[self._n_written :] = [hashes]
        self._vectors[self._n_written :] = [map_block(path, _KINDS)["vectors"]]
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
        if self._index is None:
            self._index = StagedPlaces.of(self._hashes)
        found, blocks, rows = self._index.find(hashes)
        vectors = np.empty((len(rows), self._dimension), np.float32)
        for block in np.unique(blocks).tolist():
            here = blocks == block
            vectors[here] = self._vectors[block][rows[here]]
        return found, vectors

    def clear(self) -> None:
        """Remove the staged vectors of this key: they are committed."""
        self._hashes, self._vectors, self._index, self._n_written = [], [], None, 0
        remove_blocks(self._folder)

    def _adopt(self) -> None:
        for block in whole_blocks(self._folder, _KINDS, self._fits):
            self._hashes.append(np.array(block["hashes"]))
            self._vectors.append(block["vectors"])
        self._n_written = len(self._hashes)
        if self._hashes:
            logger.info("going on with %s passages that an interrupted run had encoded", f"{len(self):,}")

    def _fits(self, block: Mapping[str, np.ndarray]) -> bool:
        hashes, vectors = block["hashes"], block["vectors"]
        shapes = hashes.shape == (len(hashes), HASH_BYTES), vectors.shape == (len(hashes), self._dimension)
        return all(shapes) and bool(np.isfinite(vectors).all())


class StagedPlaces(NamedTuple):
    """Where each staged passage is, by ascending key: its hash (n, 16), its block and its row there."""

    keys: np.ndarray
    hashes: np.ndarray
    blocks: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, blocks: Sequence[np.ndarray]) -> StagedPlaces:
        """Sort the hashes of blocks, (m, 16) each."""
        hashes = np.concatenate(blocks)
        sizes = [len(block) for block in blocks]
        numbers = np.repeat(np.arange(len(sizes)), sizes)
        rows = np.concatenate([np.arange(size) for size in sizes])
        keys = _keys(hashes)
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], hashes[order], numbers[order], rows[order])

    def find(self, hashes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which of (m, 16) hashes are staged, (m,) bool, and of those the blocks and the rows in these."""
        at = np.minimum(np.searchsorted(self.keys, _keys(hashes)), len(self.keys) - 1)
        found = (self.hashes[at] == hashes).all(axis=1)
        return found, self.blocks[at[found]], self.rows[at[found]]


def _keys(hashes: np.ndarray) -> np.ndarray:
    """Return the first 8 bytes of each hash as a number, to sort and search by."""
    return np.ascontiguousarray(hashes[:, :8]).view(np.uint64).ravel()


def write_block(folder: Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write arrays as a block and return its path; the folder and the one above it are made where they are missing."""
    from safetensors.numpy import save

    content = save(dict(arrays))
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


def whole_blocks(
    folder: Path, kinds: Mapping[str, tuple[str, type]], fits: Callable[[Mapping[str, np.ndarray]], bool]
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the blocks of a folder that are whole and fit, mapped; what is not one is removed."""
    for place in (folder.parent, folder):
        if not os.path.lexists(place):
            return
        check_directory(place)
    for path in sorted(folder.iterdir()):
        block = _checked(path, kinds)
        if block is None or not fits(block):
            # A writer that was killed leaves a temporary file; any other that is not whole is damaged.
            level = logging.INFO if path.suffix == ".tmp" else logging.WARNING
            logger.log(level, "removing %s: not a whole block of encoded passages", path)
            file_operations.remove_tree(path)
        else:
            yield block


def remove_blocks(folder: Path) -> None:
    """Remove a folder of blocks, and the staging area with it when nothing else waits there."""
    file_operations.remove_tree(folder)
    with contextlib.suppress(OSError):
        file_operations.remove_directory(folder.parent)


def _checked(path: Path, kinds: Mapping[str, tuple[str, type]]) -> dict[str, np.ndarray] | None:
    try:
        if path.suffix != ".safetensors":
            return None
        with open_plain(path) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != path.stem:
                return None
        return map_block(path, kinds)
    except (OSError, StorageError, ValueError, ArithmeticError, LookupError, TypeError, RecursionError):
        return None


def map_block(path: Path, kinds: Mapping[str, tuple[str, type]]) -> dict[str, np.ndarray]:
    """Map the arrays of a block: 8 bytes with the header's length, the header in JSON, then the data.

    Args:
        path: the block.
        kinds: for each array that it must hold the type's name in the header and in NumPy.

    Raises:
        ValueError, LookupError, TypeError: it is not such a block.
    """
    with open_plain(path) as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if 8 + length > size:
            raise ValueError(f"{path} is shorter than its header says")
        header = json.loads(file.read(length))
        content = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    arrays: dict[str, np.ndarray] = {}
    for name, (code, dtype) in kinds.items():
        described = header[name]
        shape = tuple(map(int, described["shape"]))
        begin, end = (8 + length + int(place) for place in described["data_offsets"])
        if described["dtype"] != code or min(shape, default=-1) < 0:
            raise ValueError(f"{path} holds {name} as {described['dtype']} {described['shape']}")
        if not 0 <= begin <= end <= size or end - begin != math.prod(shape) * np.dtype(dtype).itemsize:
            raise ValueError(f"{path} has another size than its header says")
        arrays[name] = np.frombuffer(content, dtype, math.prod(shape), begin).reshape(shape)
    return arrays
