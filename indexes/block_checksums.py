"""Checksums of the blocks of a part's files, compared when a block is first used.

A part's files are recorded in the manifest with one SHA-256 each; comparing that means reading the whole file, which
`verify` does. A search reads a few blocks of a mapped file, and damage in just those must not become a wrong answer: so
every part also holds a CRC-32 for each block of each file, in `block-checksums.json`.
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

NAME = "block-checksums.json"

LARGEST = 1 << 28
"""Bytes of the file: enough for a part of terabytes."""

_FEW = 16
"""Places that are looked at faster one by one."""


def encode_checksums(blocks: dict[str, list[int]]) -> bytes:
    """Return the content of the file: the CRC-32 of each block, by file name, and the CRC-32 of all that."""
    listed = {name: np.array(blocks[name], ">u4").tobytes().hex() for name in sorted(blocks)}
    return _envelope(msgspec.json.encode(listed))


def _envelope(blocks: bytes) -> bytes:
    return b'{"crc32": "%08x", "blocks": %s}\n' % (zlib.crc32(blocks), blocks)


class _Envelope(msgspec.Struct):
    blocks: msgspec.Raw


class BlockChecksums:
    """The block checksums of one part.

    Args:
        directory: the part; without the file of checksums (an index that was written outside a collection) nothing is
            checked.

    Raises:
        CorruptIndexError: the file itself is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        path = directory / NAME
        self._blocks: dict[str, str] | None = None
        if not os.path.lexists(path):
            return
        content = read_plain(path, LARGEST)
        try:
            raw = bytes(msgspec.json.decode(content, type=_Envelope).blocks)
            if content != _envelope(raw):
                raise CorruptIndexError(
                    f"file damaged: {path} does not match its own checksum; restore it or index again"
                )
            self._blocks = msgspec.json.decode(raw, type=dict[str, str])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
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
        expected = _decoded(self._blocks.get(name, ""))
        if expected is None or len(expected) != n_blocks(len(content)):
            raise CorruptIndexError(
                f"file damaged: {self._directory / name} or {NAME} beside it: their sizes do not fit; "
                "restore them or index again"
            )
        return BlockGuard(self._directory / name, content, expected)


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
        self.finished = not len(expected)

    @property
    def waiting(self) -> np.ndarray:
        """Which blocks are still to be checked, (n_blocks,) bool, read-only and always current; empty when none is."""
        view = self._waiting[:0] if self.finished else self._waiting[:]
        view.flags.writeable = False
        return view

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
        if len(first):
            lowest, n_touched = int(first.min()), int(last.max() - first.min()) + 1
            # How many of the places begin or end at each block; added up, how many hold it.
            steps = np.bincount(first - lowest, minlength=n_touched) - np.bincount(last - lowest, minlength=n_touched)
            held_blocks = np.cumsum(steps)[:-1] > 0
            self._check_blocks(lowest, held_blocks & self._waiting[lowest : lowest + len(held_blocks)])

    def check_span(self, begin: int, end: int) -> None:
        """Check the blocks that hold the bytes begin:end; the same as `check`, faster for a single place."""
        if self.finished or begin >= end:
            return
        first, last = begin // BLOCK, (end - 1) // BLOCK + 1
        waiting = self._waiting[first:last]
        if waiting.any():
            self._check_blocks(first, waiting)

    def check_all(self) -> None:
        """Check every block; raises what `check` raises."""
        if not self.finished:
            self._check_blocks(0, self._waiting)

    def _check_blocks(self, first: int, chosen: np.ndarray) -> None:
        """Check those of the blocks first, first + 1, ... that are chosen, (n,) bool."""
        for number in (first + np.flatnonzero(chosen)).tolist():
            begin = number * BLOCK
            block = self._content[begin : begin + BLOCK]
            if zlib.crc32(block.data) != self._expected[number]:
                raise CorruptIndexError(
                    f"file damaged: {self._path}, bytes {begin:,} to {begin + len(block):,} do not match their "
                    "checksum; restore it or index again"
                )
            # Only ever from True to False, and after the block was found right: threads cannot mislead each other.
            self._waiting[number] = False
        self.finished = not self._waiting.any()


def _decoded(digits: str) -> np.ndarray | None:
    """Return checksums that are written in hexadecimal, 8 digits each; None where they are not."""
    try:
        return np.frombuffer(bytes.fromhex(digits), ">u4")
    except ValueError:
        return None


def n_blocks(size: int) -> int:
    """Return how many blocks a file of this size has."""
    return -(-size // BLOCK)
