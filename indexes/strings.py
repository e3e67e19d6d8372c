"""Many strings on disk, one after the other: their UTF-8 bytes in one array, and where each begins in another.

Any of them is read without its neighbours, by memory map.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from indexes.array_writer import ArrayWriter
from indexes.arrays import ArrayFolder
from indexes.compilation import read_only
from indexes.errors import CorruptIndexError

_BLOCK = 1 << 16
"""Strings that are written, or read in a row, together."""

_FEW = 16
"""Strings that are made faster one by one."""

_TOGETHER = 1 << 12
"""Strings that are decoded together: what is copied for it stays in the processor's cache."""

_LONG = 256
"""Bytes of a string, on the average, from which decoding them together gains nothing."""

_SEPARATOR = "\0"
"""Ids that hold it are rare; they are read one by one."""


class Strings:
    """Opened strings; immutable. `len` is their number.

    Args:
        folder: where the two files lie.
        name: `<name>-bytes.npy` and `<name>-offsets.npy`.
        n_strings: how many there must be; None for any number.

    Attributes:
        bytes: (n_bytes,) uint8.
        offsets: (n_strings + 1,) int64.

    Raises:
        CorruptIndexError: a file is missing or is not what it should be.
    """

    def __init__(self, folder: ArrayFolder, name: str, n_strings: int | None = None) -> None:
        self._path = folder.directory / f"{name}-offsets.npy"
        self.bytes = folder.checked(f"{name}-bytes", np.uint8, (None,))
        self.offsets = folder.checked(f"{name}-offsets", np.int64, (None if n_strings is None else n_strings + 1,))
        n_offsets = len(self.offsets)
        if not n_offsets or self.offsets.values[0] != 0 or self.offsets.values[-1] != len(self.bytes):
            raise self.damaged()

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def encoded(self, number: int) -> bytes:
        """Return the bytes of one string.

        Raises:
            IndexError: there is no such string.
            CorruptIndexError: the files are damaged at this place.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"no string {number} in {self._path}: there are {len(self):,}")
        begin, end = self.offsets.span(number, number + 2).tolist()
        if not 0 <= begin <= end <= len(self.bytes):
            raise self.damaged()
        return self.bytes.span(begin, end).tobytes()

    def some(self, numbers: np.ndarray) -> list[str]:
        """Return the strings with these numbers, (n,) int64; faster than one after the other.

        Raises what `encoded` raises.
        """
        self.offsets.touch(numbers, numbers + 2)
        begins, ends = self.offsets.values[numbers], self.offsets.values[numbers + 1]
        return self._few(begins, ends) if len(numbers) <= _FEW else self._many(begins, ends)

    def _few(self, begins: np.ndarray, ends: np.ndarray) -> list[str]:
        """Return the strings at these places; slower than `_many` for many of them, but needs no kernel."""
        places = list(zip(begins.tolist(), ends.tolist(), strict=True))
        n_bytes = len(self.bytes)
        for begin, end in places:
            if not 0 <= begin <= end <= n_bytes:
                raise self.damaged()
        self.bytes.touch(begins, ends)
        content = self.bytes.values.data
        try:
            return [str(content[begin:end], "utf-8") for begin, end in places]
        except UnicodeDecodeError:
            raise self.damaged() from None

    def _many(self, begins: np.ndarray, ends: np.ndarray) -> list[str]:
        """Return the strings at these places, decoded together; in parts, which bounds what is copied for it."""
        from indexes.string_kernels import join, total_length

        begins, ends = read_only(begins), read_only(ends)
        total = total_length(begins, ends, len(self.bytes))
        if total < 0:
            raise self.damaged()
        if total > _LONG * len(begins):
            return self._few(begins, ends)
        if len(begins) > _TOGETHER:
            parts = range(0, len(begins), _TOGETHER)
            return [text for at in parts for text in self._many(begins[at : at + _TOGETHER], ends[at : at + _TOGETHER])]
        self.bytes.touch(begins, ends)
        joined = np.empty(total + len(begins), np.uint8)
        join(self.bytes.values, begins, ends, ord(_SEPARATOR), joined)
        # The separator is ASCII: together they are valid UTF-8 just when each is.
        texts = self.decoded(joined[:-1].tobytes()).split(_SEPARATOR)
        return texts if len(texts) == len(begins) else self._few(begins, ends)  # one holds the separator

    def __getitem__(self, number: int) -> str:
        """Return one string; raises what `encoded` raises."""
        return self.decoded(self.encoded(number))

    def between(self, first: int, last: int) -> Iterator[bytes]:
        """Iterate over the bytes of the strings first, first + 1, ... last - 1, in blocks of bounded number."""
        for begin in range(first, last, _BLOCK):
            offsets = self.offsets.span(begin, min(begin + _BLOCK, last) + 1)
            if offsets[0] < 0 or offsets[-1] > len(self.bytes) or (offsets[1:] < offsets[:-1]).any():
                raise self.damaged()
            content = self.bytes.span(int(offsets[0]), int(offsets[-1])).data
            ends = (offsets - offsets[0]).tolist()
            for position in range(len(ends) - 1):
                yield bytes(content[ends[position] : ends[position + 1]])

    def decoded(self, content: bytes, errors: str = "strict") -> str:
        """Return bytes of this file as text; CorruptIndexError where they are not UTF-8."""
        try:
            return content.decode("utf-8", errors)
        except UnicodeDecodeError:
            raise self.damaged() from None

    def damaged(self) -> CorruptIndexError:
        """Return the error about these files."""
        return CorruptIndexError(f"file damaged: {self._path} or the bytes beside it; restore it or index again")


class StringsWriter:
    """Writes strings as a stream; a context manager. Memory is bounded by the longest and by a block of them.

    Args:
        directory: where the two files go.
        name: see `Strings`.
    """

    def __init__(self, directory: Path, name: str) -> None:
        with contextlib.ExitStack() as files:  # on an error both are closed, here and when they are written
            self._bytes = files.enter_context(ArrayWriter(directory, f"{name}-bytes", np.uint8))
            self._offsets = files.enter_context(ArrayWriter(directory, f"{name}-offsets", np.int64))
            self._files = files.pop_all()
        self._offsets.append(np.zeros(1, np.int64))
        self._end = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0

    def append(self, content: bytes) -> None:
        """Add a string, in UTF-8."""
        self._waiting.append(content)
        self._waiting_bytes += len(content)
        if len(self._waiting) >= _BLOCK or self._waiting_bytes >= 16 * _BLOCK:
            self._flush()

    def extend(self, contents: Sequence[bytes]) -> None:
        """Add strings; faster than one after the other."""
        self._flush()
        self._write(contents)

    def _flush(self) -> None:
        self._write(self._waiting)
        self._waiting, self._waiting_bytes = [], 0

    def _write(self, contents: Sequence[bytes]) -> None:
        if contents:
            ends = self._end + np.cumsum(np.fromiter(map(len, contents), np.int64, len(contents)))
            self._bytes.append(np.frombuffer(b"".join(contents), np.uint8))
            self._offsets.append(ends)
            self._end = int(ends[-1])

    def __enter__(self) -> StringsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._files.__exit__(kind, error, trace)
            return
        with self._files:
            self._flush()
