"""Many short lists of (number, frequency) pairs in three flat arrays, and their transposition.

An inverted index is the same pairs twice: the forward lists hold each document's terms, the postings each term's
documents. Transposing one, which is a counting sort, gives the other. On disk each array is one file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from indexes.array_writer import ArrayWriter, save_array
from indexes.arrays import ArrayFolder, CheckedArray
from indexes.compilation import read_only
from indexes.errors import CorruptIndexError

PAIRS_IN_MEMORY = 1 << 25
"""Pairs that are held in memory at a time while lists are copied or transposed: 256 MiB."""


class ListFiles(NamedTuple):
    """Names of the three files of lists.

    Attributes:
        offsets: (n_lists + 1,) int64, where each list begins, and the end of the last.
        members: (n_pairs,) int32, ascending in each list.
        frequencies: (n_pairs,) uint32, how often.
    """

    offsets: str
    members: str
    frequencies: str


FORWARD = ListFiles("document-offsets", "document-terms", "document-frequencies")
POSTINGS = ListFiles("postings-offsets", "postings-rows", "postings-frequencies")


class Lists(NamedTuple):
    """Flat lists of pairs; list i is `members[offsets[i]:offsets[i + 1]]` with the `frequencies` beside.

    Attributes:
        offsets: (n_lists + 1,) int64.
        members: (n_pairs,) int32, terms of a document or documents of a term.
        frequencies: (n_pairs,) uint32.
        source: the file of the offsets, or what else error messages should name.
        stored: the same arrays as they lie in files, to be checked where they are used; None for lists in memory.
    """

    offsets: np.ndarray
    members: np.ndarray
    frequencies: np.ndarray
    source: str = "lists in memory"
    stored: tuple[CheckedArray, CheckedArray, CheckedArray] | None = None

    @classmethod
    def load(cls, folder: ArrayFolder, files: ListFiles, n_lists: int) -> Lists:
        """Map lists from files; checks how many there are and that the files fit together.

        Raises:
            CorruptIndexError: a file is missing or is not what it should be.
        """
        offsets = folder.checked(files.offsets, np.int64, (n_lists + 1,))
        members = folder.checked(files.members, np.int32, (None,))
        frequencies = folder.checked(files.frequencies, np.uint32, (len(members),))
        stored = (offsets, members, frequencies)
        source = f"{folder.directory / files.offsets}.npy"
        lists = cls(offsets.values, members.values, frequencies.values, source, stored)
        first, last = int(lists.offsets[0]), int(lists.offsets[-1])
        if first != 0 or last != len(members):
            raise lists.damaged(f"runs from {first} to {last}, not from 0 to {len(members)}")
        return lists

    def write(self, directory: Path, files: ListFiles) -> None:
        """Write the three files."""
        for name, values in zip(files, self[:3], strict=True):
            save_array(directory, name, values)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The three arrays, read-only, as kernels take them; unchecked: see `touch` and `whole`."""
        return read_only(self.offsets), read_only(self.members), read_only(self.frequencies)

    def whole(self) -> Lists:
        """Return the lists, all of them compared with their checksums; CorruptIndexError where they differ."""
        for array in self.stored or ():
            array.whole()
        return self

    def touch(self, starts: np.ndarray, ends: np.ndarray) -> None:
        """Compare the entries starts[i]:ends[i], which `spans` gave, with their checksums.

        Raises:
            CorruptIndexError: they are not what was written.
        """
        if self.stored:
            self.stored[1].touch(starts, ends)
            self.stored[2].touch(starts, ends)

    def spans(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where lists begin and end, int64, checked to lie inside the arrays.

        Raises:
            CorruptIndexError: the offsets of one are impossible, or not what was written.
        """
        if self.stored:
            self.stored[0].touch(numbers, numbers + 2)
        starts, ends = self.offsets[numbers], self.offsets[numbers + 1]
        if len(numbers) and not (starts.min() >= 0 and ends.max() <= len(self.members) and (starts <= ends).all()):
            raise self.damaged("does not ascend")
        return starts, ends

    def one(self, number: int, n_members: int) -> tuple[np.ndarray, np.ndarray]:
        """Return one list: members that ascend from at least 0 to below `n_members`, frequencies of at least 1.

        Raises:
            IndexError: there is no such list.
            CorruptIndexError: it is damaged.
        """
        if not 0 <= number < len(self.offsets) - 1:
            raise IndexError(f"no list {number} in {self.source}: there are {len(self.offsets) - 1:,}")
        starts, ends = self.spans(np.array([number]))
        self.touch(starts, ends)
        begin, end = int(starts[0]), int(ends[0])
        members = self.members[begin:end]
        if len(members) and (members[0] < 0 or members[-1] >= n_members or (members[1:] <= members[:-1]).any()):
            raise self.damaged(f"points to a list (number {number}) of impossible numbers")
        frequencies = self.frequencies[begin:end]
        if not frequencies.all():
            raise self.damaged(f"points to a list (number {number}) of what never occurs")
        return members, frequencies

    def total(self) -> int:
        """Return what all frequencies add up to; compares them with their checksums."""
        values = self.stored[2].whole() if self.stored else self.frequencies
        return int(values.sum(dtype=np.uint64))

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


def transposed(lists: Lists, offsets: np.ndarray, first: int = 0, last: int | None = None) -> Lists:
    """Return the lists of the members first, first + 1, ... last - 1: where each occurs, ascending, and how often.

    Args:
        lists: what to transpose.
        offsets: (n_members + 1,) int64, where the list of each member begins.
        first: first member wanted.
        last: one past the last; None for all.

    Raises:
        CorruptIndexError: the offsets are not those of the lists' members.
    """
    from indexes import list_kernels

    stop = len(offsets) - 1 if last is None else last
    own = offsets[first : stop + 1] - offsets[first]
    cursors = own[:-1].copy()
    members = np.empty(int(own[-1]), np.int32)
    frequencies = np.empty(int(own[-1]), np.uint32)
    fits = list_kernels.transpose(*lists.whole().arrays, first, cursors, members, frequencies)
    if not fits or not np.array_equal(cursors, own[1:]):
        raise lists.damaged("and the counts of its members contradict each other")
    return Lists(own, members, frequencies)


def write_postings(directory: Path, forward: Lists, offsets: np.ndarray) -> None:
    """Write the postings of forward lists, in as many passes over them as keep the memory bounded."""
    save_array(directory, POSTINGS.offsets, offsets)
    with (
        ArrayWriter(directory, POSTINGS.members, np.int32) as rows,
        ArrayWriter(directory, POSTINGS.frequencies, np.uint32) as frequencies,
    ):
        for first, last in blocks(offsets, PAIRS_IN_MEMORY):
            postings = transposed(forward, offsets, first, last)
            rows.append(postings.members)
            frequencies.append(postings.frequencies)
