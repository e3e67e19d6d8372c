"""Many short lists of (number, frequency) pairs in three flat arrays, and their transposition.

An inverted index is the same pairs twice: the documents' lists hold each document's terms, the postings each term's
documents. Transposing one, which is a counting sort, gives the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from indexes.compilation import read_only
from indexes.errors import CorruptIndexError

PAIRS_IN_MEMORY = 1 << 25
"""Pairs that are held in memory at a time while lists are copied or transposed: 256 MiB."""


class Lists(NamedTuple):
    """Flat lists of pairs; list i is `members[offsets[i]:offsets[i + 1]]` with the `frequencies` beside.

    Attributes:
        offsets: (n_lists + 1,) int64.
        members: (n_pairs,) int32, terms of a document or documents of a term.
        frequencies: (n_pairs,) uint32.
        source: what error messages should name.
    """

    offsets: np.ndarray
    members: np.ndarray
    frequencies: np.ndarray
    source: str = "lists in memory"

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three arrays, read-only, as kernels take them."""
        return read_only(self.offsets), read_only(self.members), read_only(self.frequencies)

    def damaged(self, what: str) -> CorruptIndexError:
        """Return the error to raise for what was found."""
        return CorruptIndexError(f"file damaged: {self.source} {what}; restore the index or index again")


def offsets_of(counts: np.ndarray) -> np.ndarray:
    """Return where lists of the given lengths begin, and the end of the last, (n + 1,) int64."""
    offsets = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def blocks(offsets: np.ndarray, budget: int) -> Iterator[tuple[int, int]]:
    """Cut lists into ranges (first, last) of at most `budget` pairs together, or of one longer list."""
    first, n_lists = 0, len(offsets) - 1
    while first < n_lists:
        last = int(np.searchsorted(offsets, offsets[first] + budget, side="right")) - 1
        last = min(max(last, first + 1), n_lists)
        yield first, last
        first = last


def transposed(lists: Lists, offsets: np.ndarray) -> Lists:
    """Return the lists of the members: where each occurs, ascending, and how often.

    Args:
        lists: what to transpose.
        offsets: (n_members + 1,) int64, where the list of each member begins.

    Raises:
        CorruptIndexError: the offsets are not those of the lists' members.
    """
    result = Transposition(offsets, 0, len(offsets) - 1)
    result.add(0, lists)
    return result.finished(lists)


class Transposition:
    """Collects the lists of the members first, first + 1, ... last - 1 from lists that are added block by block.

    Args:
        offsets: (n_members + 1,) int64, where the list of each member begins among those of all members.
        first: first member wanted.
        last: one past the last.
    """

    def __init__(self, offsets: np.ndarray, first: int, last: int) -> None:
        self._first = first
        self._offsets = offsets[first : last + 1] - offsets[first]
        self._cursors = self._offsets[:-1].copy()
        self._members = np.empty(int(self._offsets[-1]), np.int32)
        self._frequencies = np.empty(int(self._offsets[-1]), np.uint32)

    def add(self, base: int, lists: Lists) -> None:
        """Add the lists base, base + 1, ..., of rising numbers from block to block.

        Raises:
            CorruptIndexError: the offsets are not those of the lists' members.
        """
        from indexes import list_kernels

        if not list_kernels.transpose(
            *lists.arrays, base, self._first, self._cursors, self._members, self._frequencies
        ):
            raise lists.damaged("and the counts of its members contradict each other")

    def finished(self, lists: Lists) -> Lists:
        """Return the transposed lists.

        Args:
            lists: named where they contradict the offsets.

        Raises:
            CorruptIndexError: the offsets are not those of the lists' members.
        """
        if not np.array_equal(self._cursors, self._offsets[1:]):
            raise lists.damaged("and the counts of its members contradict each other")
        return Lists(self._offsets, self._members, self._frequencies, lists.source)
