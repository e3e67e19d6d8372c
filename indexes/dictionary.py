"""The sorted term dictionary of an inverted index: term to number and back, without loading it.

Two arrays: the terms' UTF-8 bytes one after the other, and where each begins. Terms are sorted by these bytes, which is
also how Python orders strings (by code point), so that a term's number tells its place in the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from indexes.array_writer import ArrayWriter
from indexes.arrays import load_array
from indexes.errors import CorruptIndexError

BYTES = "dictionary-bytes"
OFFSETS = "dictionary-offsets"

_BLOCK = 1 << 16


def encode_term(term: str) -> bytes:
    """Return a term's bytes; a lone surrogate, which broken JSON may contain, is kept and sorts where it should."""
    return term.encode("utf-8", "surrogatepass")


class TermDictionary:
    """An opened dictionary; immutable. `len` is the number of terms.

    Args:
        directory: where its files lie.

    Raises:
        CorruptIndexError: a file is missing or is not what it should be.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / f"{OFFSETS}.npy"
        self._bytes = np.asarray(load_array(directory, BYTES, np.uint8, (None,)))
        self._offsets = np.asarray(load_array(directory, OFFSETS, np.int64, (None,)))
        if not len(self._offsets) or self._offsets[0] != 0 or self._offsets[-1] != len(self._bytes):
            raise self._damaged()

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, number: int) -> str:
        """Return the term with a number.

        Raises:
            IndexError: there is no such term.
            CorruptIndexError: the file is damaged at this place.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"no term {number}: the dictionary has {len(self):,}")
        return self._decoded(next(self.encoded(number, number + 1)))

    def encoded(self, first: int = 0, last: int | None = None) -> Iterator[bytes]:
        """Iterate over the bytes of the terms first, first + 1, ... last - 1, in blocks of bounded size."""
        stop = len(self) if last is None else last
        for begin in range(first, stop, _BLOCK):
            offsets = self._offsets[begin : min(begin + _BLOCK, stop) + 1]
            if offsets[0] < 0 or offsets[-1] > len(self._bytes) or (np.diff(offsets) < 0).any():
                raise self._damaged()
            content = self._bytes[offsets[0] : offsets[-1]].tobytes()
            ends = (offsets - offsets[0]).tolist()
            for position in range(len(ends) - 1):
                yield content[ends[position] : ends[position + 1]]

    def __iter__(self) -> Iterator[str]:
        return map(self._decoded, self.encoded())

    def find(self, terms: Sequence[str]) -> np.ndarray:
        """Return the number of each term, int64, -1 where it is not in the dictionary."""
        from indexes import list_kernels

        encoded = [encode_term(term) for term in terms]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
        offsets.flags.writeable = False
        wanted = np.frombuffer(b"".join(encoded), np.uint8)  # read-only, for bytes are
        found = np.empty(len(encoded), np.int64)
        if not list_kernels.find_terms(self._bytes, self._offsets, wanted, offsets, found):
            raise self._damaged()
        return found

    def _decoded(self, content: bytes) -> str:
        try:
            return content.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise self._damaged() from None

    def _damaged(self) -> CorruptIndexError:
        return CorruptIndexError(f"file damaged: {self._path} or the bytes beside it; restore it or index again")


def write_dictionary(directory: Path, terms: Iterable[bytes]) -> int:
    """Write a dictionary block by block and return how many terms it has.

    Args:
        directory: where its files go.
        terms: UTF-8 bytes, strictly ascending.

    Raises:
        ValueError: the terms are not strictly ascending.
    """
    with ArrayWriter(directory, BYTES, np.uint8) as content, ArrayWriter(directory, OFFSETS, np.int64) as offsets:
        offsets.append(np.zeros(1, np.int64))
        total = count = 0
        block: list[bytes] = []
        previous: bytes | None = None
        for term in terms:
            if previous is not None and term <= previous:
                raise ValueError(f"terms must be distinct and sorted: {term!r} comes after {previous!r}")
            previous = term
            block.append(term)
            if len(block) == _BLOCK:
                total, count = _append(block, content, offsets, total), count + len(block)
                block = []
        _append(block, content, offsets, total)
    return count + len(block)


def _append(block: list[bytes], content: ArrayWriter, offsets: ArrayWriter, total: int) -> int:
    ends = total + np.cumsum(np.fromiter(map(len, block), np.int64, len(block)))
    content.append(np.frombuffer(b"".join(block), np.uint8))
    offsets.append(ends)
    return int(ends[-1]) if len(ends) else total
