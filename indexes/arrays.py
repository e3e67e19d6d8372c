"""Arrays on disk: one `.npy` file each, memory-mapped on open (small ones are read) and checked against expectations.

Nothing in a file is believed: the header must describe exactly the bytes that follow it, so that no number in it can
make numpy allocate or read more. Blocks are compared with their checksums when they are first used (see
`indexes.block_checksums`): those of a small file when it is read.

Every mapping keeps its file open, and a process may open only so many: a collection of dozens of small segments must
not use them up. So what is small is read, which is faster besides.
"""

from __future__ import annotations

import math
import mmap
import os
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from indexes.block_checksums import BlockChecksums, BlockGuard
from indexes.errors import CorruptIndexError, StorageError
from indexes.plain_files import open_plain

_READ_UP_TO = 256 << 10
"""Bytes of a file that is read rather than mapped."""

_LONGEST_HEADER = 1 << 10

_FIXED = 10
_ALIGNMENT = 64
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)"
    rb"\{'descr': '(?P<type>\|b1|\|[iu]1|<[iu][248]|<f[248])', 'fortran_order': False, "
    rb"'shape': \((?P<lengths>|\d{1,18},|\d{1,18}(?:, \d{1,18}){1,3})\), \} *\n",
    re.DOTALL,
)
"""What numpy writes, to the letter: any other byte is damage, also where numpy would not mind."""

Shape = tuple[int | None, ...]


class CheckedArray:
    """An array whose blocks are compared with their checksums when they are first used.

    Args:
        values: the array, flat or of rows.
        guard: checks its file; None where there is nothing to compare with.
        offset: where the array begins in the file.

    Attributes:
        values: the array, unchecked: look at it after `whole`, or at what was touched.
    """

    def __init__(self, values: np.ndarray, guard: BlockGuard | None = None, offset: int = 0) -> None:
        self.values = values
        self._guard = guard
        self._offset = offset
        self._row_bytes = values.itemsize * math.prod(values.shape[1:])

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_checked(self) -> bool:
        """Whether all blocks have been checked, or there is nothing to compare them with."""
        return self._guard is None or self._guard.finished

    @property
    def waiting(self) -> tuple[np.ndarray, int]:
        """Which blocks of the file are still to be checked (see `BlockGuard.waiting`), and where the array begins.

        For kernels, which cannot check a block but can tell that one is to be checked.
        """
        return (np.empty(0, bool), 0) if self._guard is None else (self._guard.waiting, self._offset)

    def whole(self) -> np.ndarray:
        """Return the array, all of it checked.

        Raises:
            CorruptIndexError: a block is not what was written; the message names the file.
        """
        if self._guard is not None:
            self._guard.check_all()
        return self.values

    def touch(self, begins: np.ndarray, ends: np.ndarray) -> None:
        """Check the rows begins[i]:ends[i], which must lie inside the array; raises what `whole` raises."""
        if self._guard is not None and not self._guard.finished:
            self._guard.check(self._offset + begins * self._row_bytes, self._offset + ends * self._row_bytes)

    def span(self, begin: int, end: int) -> np.ndarray:
        """Return rows begin to end, checked; raises what `whole` raises."""
        if self._guard is not None and not self._guard.finished:
            self._guard.check_span(self._offset + begin * self._row_bytes, self._offset + end * self._row_bytes)
        return self.values[begin:end]


class ArrayFolder:
    """The arrays in one directory, with its block checksums if it has any.

    Args:
        directory: where the files lie.

    Raises:
        CorruptIndexError: the checksums are damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._checksums = BlockChecksums(directory)

    def checked(self, name: str, dtype: npt.DTypeLike, shape: Shape) -> CheckedArray:
        """Map the array in `<name>.npy`, to be checked where it is used; a small one is read and checked at once.

        Args:
            name: of the file, without the ending.
            dtype: what it must hold.
            shape: the shape it must have; None for a length that the caller cannot know.

        Raises:
            CorruptIndexError: the file is missing, is not an array, or has another type or shape; names it.
            StorageError: the system does not let us read it.
        """
        array = self.unread(name, dtype, shape)
        if array.values.nbytes <= _READ_UP_TO:
            array.whole()
        return array

    def load(self, name: str, dtype: npt.DTypeLike, shape: Shape) -> np.ndarray:
        """Return the array in `<name>.npy`, read-only and checked, for arrays that are used as a whole anyway."""
        return self.checked(name, dtype, shape).whole()

    def unread(self, name: str, dtype: npt.DTypeLike, shape: Shape) -> CheckedArray:
        """Map the array in `<name>.npy`, to be checked where the caller wants: searches read vectors unchecked.

        Raises what `checked` raises.
        """
        path = self.directory / f"{name}.npy"
        mapped = _map(path, np.dtype(dtype), shape)
        return CheckedArray(mapped.array, self._checksums.guard(path.name, mapped.content), mapped.offset)


def load_array(directory: Path, name: str, dtype: npt.DTypeLike, shape: Shape) -> np.ndarray:
    """Return one array of a directory, read-only and checked; see `ArrayFolder.load`."""
    return ArrayFolder(directory).load(name, dtype, shape)


class _Mapped(NamedTuple):
    array: np.ndarray
    content: np.ndarray  # (size,) uint8, the whole file
    offset: int  # where the array begins in it


def _map(path: Path, dtype: np.dtype, shape: Shape) -> _Mapped:
    with open_plain(path) as file:
        try:
            size = os.fstat(file.fileno()).st_size
            if size <= _READ_UP_TO:
                content = np.frombuffer(file.read(), np.uint8)
            else:
                content = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        except OSError as error:
            raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    found_dtype, found_shape, offset = _header(path, content[:_LONGEST_HEADER].tobytes())
    fits = len(found_shape) == len(shape) and all(
        wanted is None or wanted == found for wanted, found in zip(shape, found_shape, strict=True)
    )
    if found_dtype != dtype or not fits:
        raise CorruptIndexError(f"file damaged: {path} holds {found_dtype} {found_shape}, expected {dtype} {shape}")
    # Python's integers: a product of absurd lengths does not wrap around.
    wanted_size = offset + dtype.itemsize * math.prod(found_shape)
    if wanted_size != len(content):
        raise CorruptIndexError(
            f"file damaged: {path} has {len(content):,} bytes, its header says {wanted_size:,}; restore it or index "
            "again"
        )
    try:
        array = content[offset:].view(dtype).reshape(found_shape)
    except ValueError as error:  # no numbers, but lengths beyond what an array can have
        raise CorruptIndexError(f"file damaged: {path} ({error}); restore it or index again") from None
    array.flags.writeable = False
    return _Mapped(array, content, offset)


def _header(path: Path, start: bytes) -> tuple[np.dtype, tuple[int, ...], int]:
    """Return type, shape and size of the header of a `.npy` file."""
    found = _HEADER.match(start)
    aligned = found is not None and found.end() % _ALIGNMENT == 0
    if found is None or not aligned or found.end() != _FIXED + int.from_bytes(found["length"], "little"):
        raise CorruptIndexError(
            f"file damaged: {path} does not begin like an array of numbers; restore it or index again"
        )
    lengths = tuple(int(length) for length in found["lengths"].split(b",") if length)
    return np.dtype(found["type"].decode()), lengths, found.end()
