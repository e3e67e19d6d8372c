"""The sorted term dictionary of an inverted index: term to number and back, without loading it.

Terms are sorted by their UTF-8 bytes, which is also how Python orders strings (by code point), so that a term's number
tells its place in the order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from indexes.arrays import ArrayFolder
from indexes.compilation import read_only
from indexes.errors import CorruptIndexError
from indexes.strings import Strings, StringsWriter

_NAME = "dictionary"


def encode_term(term: str) -> bytes:
    """Return a term's bytes; a lone surrogate, which broken JSON may contain, is kept and sorts where it should."""
    return term.encode("utf-8", "surrogatepass")


class EncodedTerms(NamedTuple):
    """Terms as kernels take them, to be looked up in several dictionaries.

    Attributes:
        content: uint8, their bytes, one after the other.
        offsets: (n + 1,) int64, where each begins, and the end of the last.
    """

    content: np.ndarray
    offsets: np.ndarray

    @classmethod
    def of(cls, terms: Sequence[str]) -> EncodedTerms:
        """Encode terms."""
        encoded = [encode_term(term) for term in terms]
        offsets = np.zeros(len(encoded) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded)), out=offsets[1:])
        return cls(np.frombuffer(b"".join(encoded), np.uint8), read_only(offsets))  # bytes are read-only


class TermDictionary:
    """An opened dictionary; immutable. `len` is the number of terms.

    Args:
        folder: where its files lie.

    Raises:
        CorruptIndexError: a file is missing or is not what it should be.
    """

    def __init__(self, folder: ArrayFolder) -> None:
        self._terms = Strings(folder, _NAME)

    def __len__(self) -> int:
        return len(self._terms)

    def __getitem__(self, number: int) -> str:
        """Return the term with a number.

        Raises:
            IndexError: there is no such term.
            CorruptIndexError: the file is damaged at this place.
        """
        return self._decoded(self._terms.encoded(number))

    def some(self, numbers: np.ndarray) -> list[str]:
        """Return the terms with these numbers, (n,) int64; faster than one after the other, and raises the same."""
        try:
            return self._terms.some(numbers)
        except CorruptIndexError:  # a lone surrogate is no damage here; what is will be found again
            return [self[number] for number in numbers.tolist()]

    def encoded(self) -> Iterator[bytes]:
        """Iterate over the bytes of all terms, in blocks of bounded size."""
        return self._terms.between(0, len(self))

    def __iter__(self) -> Iterator[str]:
        return map(self._decoded, self.encoded())

    def find(self, terms: Sequence[str] | EncodedTerms) -> np.ndarray:
        """Return the number of each term, int64, -1 where it is not in the dictionary.

        Raises:
            CorruptIndexError: the dictionary is damaged. All of it is checked the first time, for one wrong byte in the
                way of the search would hide a term.
        """
        from indexes import list_kernels

        wanted = terms if isinstance(terms, EncodedTerms) else EncodedTerms.of(terms)
        found = np.empty(len(wanted.offsets) - 1, np.int64)
        content, places = read_only(self._terms.bytes.whole()), read_only(self._terms.offsets.whole())
        if not list_kernels.find_terms(content, places, wanted.content, wanted.offsets, found):
            raise self._terms.damaged()
        return found

    def _decoded(self, content: bytes) -> str:
        return self._terms.decoded(content, "surrogatepass")


def write_dictionary(directory: Path, terms: Iterable[bytes]) -> int:
    """Write a dictionary as a stream and return how many terms it has.

    Args:
        directory: where its files go.
        terms: UTF-8 bytes, strictly ascending.

    Raises:
        ValueError: the terms are not strictly ascending.
    """
    count = 0
    previous: bytes | None = None
    with StringsWriter(directory, _NAME) as writer:
        for term in terms:
            if previous is not None and term <= previous:
                raise ValueError(f"terms must be distinct and sorted: {term!r} comes after {previous!r}")
            writer.append(term)
            previous = term
            count += 1
    return count
