"""Documents' own lists: which terms, or dimensions, each document holds, and how often or how strongly.

They are packed into bytes (`indexes.packing_kernels` says how): about 2 for a pair of a term and its frequency. A
search scores its candidates from them, deletion subtracts by them, and merging indexes copies them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from indexes.array_writer import ArrayWriter, save_array
from indexes.arrays import ArrayFolder, CheckedArray
from indexes.compilation import read_only
from indexes.errors import CorruptIndexError
from indexes.kernel_arrays import DocumentArrays
from indexes.lists import Lists, blocks, offsets_of

OFFSETS = "document-offsets"
"""Name of the file of (n_documents + 1,) int64: where each document's bytes begin, and the end of the last."""

CONTENT = "document-lists"
"""Name of the file of uint8: the packed lists, one after the other."""

_PAIRS_IN_MEMORY = 1 << 24


class PackedDocuments:
    """The lists of one segment's documents. Safe to use from several threads.

    Args:
        offsets: (n_documents + 1,) int64.
        content: uint8.
        source: what error messages should name.

    Raises:
        CorruptIndexError: the offsets do not fit the content.
    """

    def __init__(self, offsets: CheckedArray, content: CheckedArray, source: str) -> None:
        self._offsets = offsets
        self._content = content
        self._source = source
        self._same_numbers = np.empty(0, np.int32)
        first, last = int(offsets.values[0]), int(offsets.values[-1])
        if first != 0 or last != len(content):
            raise self.damaged(f"runs from {first} to {last}, not from 0 to {len(content)}")

    @classmethod
    def open(cls, folder: ArrayFolder, n_documents: int) -> PackedDocuments:
        """Map the lists of `n_documents` documents.

        Raises:
            CorruptIndexError: a file is missing or is not what it should be.
        """
        offsets = folder.checked(OFFSETS, np.int64, (n_documents + 1,))
        return cls(offsets, folder.checked(CONTENT, np.uint8, (None,)), f"{folder.directory / OFFSETS}.npy")

    @classmethod
    def packed(cls, lists: Lists) -> PackedDocuments:
        """Pack lists in memory."""
        offsets, content = _pack(lists)
        return cls(CheckedArray(offsets), CheckedArray(content), lists.source)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def one(self, row: int, n_members: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a document's members, int32 ascending, all below `n_members`, and their frequencies, uint32.

        Raises:
            IndexError: there is no such row.
            CorruptIndexError: the list is damaged.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"no document {row} in {self._source}: there are {len(self):,}")
        lists = self.some(np.array([row]), n_members)
        return lists.members, lists.frequencies

    def some(self, rows: np.ndarray, n_members: int) -> Lists:
        """Return the lists of chosen documents, (n,) int64, as `one` does; raises what it raises."""
        sizes = self.sizes(rows)
        offsets = offsets_of(sizes)
        members, frequencies = np.empty(offsets[-1], np.int32), np.empty(offsets[-1], np.uint32)
        same = self._same_numbers
        if len(same) < n_members:  # made once: it takes longer than a list
            same = self._same_numbers = np.arange(n_members, dtype=np.int32)
        self.copy(rows, same[:n_members], offsets[:-1], sizes, members, frequencies)
        return Lists(offsets, members, frequencies, self._source)

    def sizes(self, rows: np.ndarray) -> np.ndarray:
        """Return how many members each of `rows`, (n,) int64, has, (n,) int64; CorruptIndexError for damage."""
        from indexes import packing_kernels

        self.touch(rows)
        counts = np.empty(len(rows), np.int64)
        if not packing_kernels.count_pairs(*self._arrays, _numbers(rows), counts):
            raise self.damaged("points to lists that are cut off")
        return counts

    def copy(  # noqa: PLR0917 - what is read, then what is written
        self,
        rows: np.ndarray,
        renumbered: np.ndarray,
        targets: np.ndarray,
        sizes: np.ndarray,
        members: np.ndarray,
        frequencies: np.ndarray,
    ) -> None:
        """Copy the lists of `rows` to places in `members`, int32, and `frequencies`, uint32.

        Args:
            rows: (n,) int64.
            renumbered: (n_members,) int32, the new number of each member.
            targets: (n,) int64, where each list goes.
            sizes: (n,) int64, as `sizes` returned them.
            members: output.
            frequencies: output.

        Raises:
            CorruptIndexError: a list is damaged, or holds a member that has no new number.
        """
        from indexes import packing_kernels

        self.touch(rows)
        if not packing_kernels.unpack(
            *self._arrays,
            _numbers(rows),
            read_only(renumbered),
            _numbers(targets),
            _numbers(sizes),
            members,
            frequencies,
        ):
            raise self.damaged("points to lists of impossible terms")

    def count_members(self, rows: np.ndarray, counts: np.ndarray) -> None:
        """Add one to `counts[member]`, int64, for each member of each of `rows`; CorruptIndexError for damage."""
        from indexes import packing_kernels

        self.touch(rows)
        if not packing_kernels.count_members(*self._arrays, _numbers(rows), counts):
            raise self.damaged("points to lists of impossible terms")

    def total(self, n_members: int) -> int:
        """Return what all frequencies add up to; reads everything, in blocks."""
        total = 0
        for first, last in self.ranges(_PAIRS_IN_MEMORY):
            total += int(self.some(np.arange(first, last), n_members).frequencies.sum(dtype=np.uint64))
        return total

    def ranges(self, n_pairs: int) -> Iterator[tuple[int, int]]:
        """Cut the documents into ranges (first, last) with at most about `n_pairs` pairs each, or of one document."""
        return blocks(self._offsets.whole(), n_pairs)  # a pair takes a byte at least

    def whole(self) -> PackedDocuments:
        """Return the same, all of it compared with its checksums; CorruptIndexError where they differ."""
        self._offsets.whole()
        self._content.whole()
        return self

    def touch(self, rows: np.ndarray) -> None:
        """Compare the lists of `rows`, which must exist, with their checksums.

        Raises:
            CorruptIndexError: they are not what was written, or their offsets are impossible.
        """
        self._offsets.touch(rows, rows + 2)
        begins, ends = self._offsets.values[rows], self._offsets.values[rows + 1]
        if len(rows) and not (begins.min() >= 0 and ends.max() <= len(self._content) and (begins <= ends).all()):
            raise self.damaged("does not ascend")
        self._content.touch(begins, ends)

    @property
    def is_checked(self) -> bool:
        """Whether all lists have been compared with their checksums, or there is nothing to compare them with."""
        return self._offsets.is_checked and self._content.is_checked

    def for_kernels(self) -> DocumentArrays:
        """Return the lists as kernels take them; unchecked: see `touch`."""
        waiting_offsets, offsets_begin = self._offsets.waiting
        waiting_content, content_begin = self._content.waiting
        return DocumentArrays(*self._arrays, waiting_offsets, waiting_content, offsets_begin, content_begin)

    @property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        return read_only(self._offsets.values), read_only(self._content.values)

    def damaged(self, what: str) -> CorruptIndexError:
        """Return the error to raise for what was found."""
        return CorruptIndexError(f"file damaged: {self._source} {what}; restore the index or index again")


class DocumentsWriter:
    """Writes documents' lists as a stream; a context manager. Memory: the offsets, and what is appended at a time.

    Args:
        directory: where the two files go; the caller makes them durable.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._content = ArrayWriter(directory, CONTENT, np.uint8)
        self._sizes: list[np.ndarray] = [np.empty(0, np.int64)]

    def __enter__(self) -> DocumentsWriter:
        self._content.__enter__()
        return self

    def append(self, lists: Lists) -> None:
        """Write the lists of the next documents: members ascending, frequencies of at least 1."""
        offsets, content = _pack(lists)
        self._sizes.append(np.diff(offsets))
        self._content.append(content)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._content.__exit__(kind, error, trace)
        if kind is None:
            save_array(self._directory, OFFSETS, offsets_of(np.concatenate(self._sizes)))


def _pack(lists: Lists) -> tuple[np.ndarray, np.ndarray]:
    """Return where each list's bytes begin, int64, and the bytes."""
    from indexes import packing_kernels

    sizes = np.empty(len(lists.offsets) - 1, np.int64)
    packing_kernels.packed_sizes(*lists.arrays, sizes)
    offsets = offsets_of(sizes)
    content = np.empty(offsets[-1], np.uint8)
    packing_kernels.pack(*lists.arrays, content)
    return offsets, content


def _numbers(values: np.ndarray) -> np.ndarray:
    return read_only(np.ascontiguousarray(values, np.int64))
