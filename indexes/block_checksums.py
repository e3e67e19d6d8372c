"""Checksums of the blocks of a part's files, compared when a block is first used.

A part's files are recorded in the manifest with one SHA-256 each; comparing that means reading the whole file, which
`verify` does. A search reads a few blocks of a mapped file, and damage in just those must not become a wrong answer: so
every part also holds a CRC-32 for each block of each file, in `block-checksums`.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import msgspec
import numpy as np

from indexes.errors import CorruptIndexError
from indexes.plain_files import read_plain

BLOCK = 1 << 16
"""Bytes that are checked together."""

NAME = "block-checksums"

LARGEST = 1 << 28
"""Bytes of the file: enough for a part of terabytes."""

_FEW = 16
"""Places that are looked at faster one by one."""

_DIGEST = 4  # bytes of the CRC-32 of the file's own content, with which it begins


def encode_checksums(blocks: dict[str, list[int]]) -> bytes:
    """Return the content of `block-checksums`: the CRC-32 of each block, by file name."""
    content = msgspec.msgpack.encode({name: np.array(blocks[name], "<u4").tobytes() for name in sorted(blocks)})
    return zlib.crc32(content).to_bytes(_DIGEST, "little") + content


class BlockChecksums:
    """The block checksums of one part.

    Args:
        directory: the part; without the file `block-checksums` (an index that was written outside a collection)
            nothing is checked.

    Raises:
        CorruptIndexError: the file itself is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        path = directory / NAME
        self._blocks: dict[str, bytes] | None = None
        if not os.path.lexists(path):
            return
        content = read_plain(path, LARGEST)
        digest, content = content[:_DIGEST], content[_DIGEST:]
        if zlib.crc32(content) != int.from_bytes(digest, "little"):
            raise CorruptIndexError(f"file damaged: {path} does not match its own checksum; restore it or index again")
        try:
            self._blocks = msgspec.msgpack.decode(content, type=dict[str, bytes])
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CorruptIndexError(f"file damaged: {path} ({error}); restore it or index again") from None

    def guard(self, name: str, content: np.ndarray) -> BlockGuard | None:
        """Return what checks the blocks of a file; None where the part has no checksums.

        Args:
            name: of the file in the part.
            content: (size,) uint8, the whole file, mapped or read.

        Raises:
            CorruptIndexError: there are no checksums for this file, or for another number of blocks.
        """
        if self._blocks is None:
            return None
        expected = np.frombuffer(self._blocks.get(name, b""), np.uint8)
        if len(expected) != 4 * n_blocks(len(content)):
            raise CorruptIndexError(
                f"file damaged: {self._directory / name} or {NAME} beside it: their sizes do not fit; "
                "restore them or index again"
            )
        return BlockGuard(self._directory / name, content, expected.view("<u4"))


class BlockGuard:
    """Checks the blocks of one file, each once; safe to use from several threads.

    Args:
        path: the file, for messages.
        content: (size,) uint8, the whole file.
        expected: (n_blocks,) uint32.

    Attributes:
        finished: whether every block has been checked.
    """

    def __init__(self, path: Path, content: np.ndarray, expected: np.ndarray) -> None:
        self._path = path
        self._content = content
        self._expected = expected
        self._waiting = np.ones(len(expected), bool)
        self._waiting_before = np.arange(len(expected) + 1)  # how many unchecked blocks lie before each
        self.finished = not len(expected)

    def check(self, begins: np.ndarray, ends: np.ndarray) -> None:
        """Check the blocks that hold the bytes begins[i]:ends[i], which must lie inside the file.

        Raises:
            CorruptIndexError: the content of one is not what was written; names the file and the place.
        """
        if self.finished:
            return
        if len(begins) <= _FEW:
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
                self.check_span(begin, end)
            return
        held = ends > begins
        first, last = begins[held] // BLOCK, (ends[held] - 1) // BLOCK + 1
        before = self._waiting_before
        unchecked = before[last] > before[first]
        if unchecked.any():
            for begin, end in zip(first[unchecked].tolist(), last[unchecked].tolist(), strict=True):
                self._check_blocks(begin, end)
            self._note()

    def check_span(self, begin: int, end: int) -> None:
        """Check the blocks that hold the bytes begin:end; the same as `check`, faster for a single place."""
        if self.finished or begin >= end:
            return
        first, last = begin // BLOCK, (end - 1) // BLOCK + 1
        if self._waiting_before[last] > self._waiting_before[first]:
            self._check_blocks(first, last)
            self._note()

    def check_all(self) -> None:
        """Check every block; raises what `check` raises."""
        if not self.finished:
            self._check_blocks(0, len(self._expected))
            self._note()

    def _check_blocks(self, first: int, last: int) -> None:
        for number in (first + np.flatnonzero(self._waiting[first:last])).tolist():
            begin = number * BLOCK
            block = self._content[begin : begin + BLOCK]
            if zlib.crc32(block.data) != self._expected[number]:
                raise CorruptIndexError(
                    f"file damaged: {self._path}, bytes {begin:,} to {begin + len(block):,} do not match their "
                    "checksum; restore it or index again"
                )
            self._waiting[number] = False

    def _note(self) -> None:
        before = np.zeros(len(self._waiting) + 1, np.int64)
        np.cumsum(self._waiting, out=before[1:])
        self._waiting_before = before
        self.finished = not before[-1]


def n_blocks(size: int) -> int:
    """Return how many blocks a file of this size has."""
    return -(-size // BLOCK)
