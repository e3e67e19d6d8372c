"""Postings: for each term, or dimension, the documents that hold it, and one byte of value beside each.

A list is cut into chunks where windows of 65,536 documents begin, so that rows need 16 bits, and so that a search can
pass over what cannot matter. The byte is a class of frequency and length (BM25, see `indexes.frequency_classes`) or a
quantised impact (learned sparse vectors); binary vectors have none. That makes 3 bytes a posting, 2 for binary, and 5 a
chunk.

A chunk of impacts that holds an eighth of its window's documents or more is stored as a column instead: one byte for
each document of the window, 0 for those that are not in the list. Adding up a column is several times as fast as adding
up its postings one by one, for vector instructions do it. (Classes of BM25 are no numbers that could be multiplied, and
binary vectors are so sparse that no list is dense.)
"""

from __future__ import annotations

import numpy as np

from indexes.arrays import ArrayFolder, CheckedArray
from indexes.compilation import read_only
from indexes.errors import CorruptIndexError
from indexes.kernel_arrays import PostingArrays
from indexes.lists import offsets_of

STARTS = "postings-offsets"
"""(n_lists + 1,) int64, where each list begins, and the end of the last."""

CHUNK_STARTS = "postings-chunk-offsets"
"""(n_lists + 1,) int64, the first chunk of each list."""

WINDOWS = "postings-chunk-windows"
"""(n_chunks,) uint16, ascending in each list."""

SIZES = "postings-chunk-sizes"
"""(n_chunks,) uint16, postings of the chunk, minus 1."""

BOUNDS = "postings-chunk-bounds"
"""(n_chunks,) uint8, largest value in the chunk; 1 where there are no values."""

ROWS = "postings-rows"
"""(n_postings,) uint16, rows within the window, ascending in each chunk."""

VALUES = "postings-values"
"""(n_postings,) uint8; the file is missing where postings have no values."""

DENSE_STARTS = "postings-column-offsets"
"""(n_lists + 1,) int64, where the first column of each list begins; only with columns, as the next."""

DENSE = "postings-columns"
"""uint8, columns, in the order of lists and windows, each as long as its window has documents."""

WINDOW_BITS = 16

DENSE_SHARE = 8
"""A chunk is a column where it holds at least one document of this many. Part of the format."""


class Postings:
    """The postings of one segment. Safe to use from several threads.

    Args:
        starts: see `STARTS`; so the others.
        chunk_starts: see `CHUNK_STARTS`.
        windows: see `WINDOWS`.
        sizes: see `SIZES`.
        bounds: see `BOUNDS`.
        rows: see `ROWS`.
        values: see `VALUES`; empty where there are none.
        source: what error messages should name.
        dense_starts: see `DENSE_STARTS`; empty where no chunk is a column.
        dense: see `DENSE`.

    Raises:
        CorruptIndexError: the arrays do not fit together.
    """

    def __init__(  # noqa: PLR0917 - the order of the files
        self,
        starts: CheckedArray,
        chunk_starts: CheckedArray,
        windows: CheckedArray,
        sizes: CheckedArray,
        bounds: CheckedArray,
        rows: CheckedArray,
        values: CheckedArray,
        source: str,
        dense_starts: CheckedArray | None = None,
        dense: CheckedArray | None = None,
    ) -> None:
        self._starts = starts
        self._chunk_starts = chunk_starts
        self._chunks = (windows, sizes, bounds)
        self._rows = rows
        self._values = values
        self._source = source
        self._dense_starts = CheckedArray(np.empty(0, np.int64)) if dense_starts is None else dense_starts
        self._dense = CheckedArray(np.empty(0, np.uint8)) if dense is None else dense
        held = [(starts, len(rows)), (chunk_starts, len(windows))]
        for offsets, n_held in held if dense_starts is None else [*held, (dense_starts, len(self._dense))]:
            first, last = int(offsets.values[0]), int(offsets.values[-1])
            if first != 0 or last != n_held:
                raise self.damaged(f"or a file beside it runs from {first} to {last}, not from 0 to {n_held}")

    @classmethod
    def open(cls, folder: ArrayFolder, n_lists: int, *, with_values: bool, with_columns: bool = False) -> Postings:
        """Map the postings of `n_lists` lists.

        Args:
            folder: where the files lie.
            n_lists: how many lists there are.
            with_values: whether postings have values.
            with_columns: whether chunks may be columns.

        Raises:
            CorruptIndexError: a file is missing or is not what it should be.
        """
        windows = folder.checked(WINDOWS, np.uint16, (None,))
        rows = folder.checked(ROWS, np.uint16, (None,))
        values = folder.checked(VALUES, np.uint8, (len(rows),)) if with_values else CheckedArray(np.empty(0, np.uint8))
        return cls(
            folder.checked(STARTS, np.int64, (n_lists + 1,)),
            folder.checked(CHUNK_STARTS, np.int64, (n_lists + 1,)),
            windows,
            folder.checked(SIZES, np.uint16, (len(windows),)),
            folder.checked(BOUNDS, np.uint8, (len(windows),)),
            rows,
            values,
            f"{folder.directory / STARTS}.npy",
            folder.checked(DENSE_STARTS, np.int64, (n_lists + 1,)) if with_columns else None,
            folder.checked(DENSE, np.uint8, (None,)) if with_columns else None,
        )

    @classmethod
    def chunked(cls, starts: np.ndarray, rows: np.ndarray, values: np.ndarray, source: str) -> Postings:
        """Cut lists in memory: `rows`, int32, and `values`, uint8, of list i are at starts[i]:starts[i + 1]."""
        counts, (windows, sizes, bounds), local_rows = cut_into_chunks(starts, rows, values)
        return cls(
            CheckedArray(starts),
            CheckedArray(offsets_of(counts)),
            CheckedArray(windows),
            CheckedArray(sizes),
            CheckedArray(bounds),
            CheckedArray(local_rows),
            CheckedArray(values),
            source,
        )

    def __len__(self) -> int:
        """Return the number of lists."""
        return len(self._starts) - 1

    @property
    def n_postings(self) -> int:
        """Number of postings."""
        sizes = self._chunks[1].whole()
        return int(sizes.sum(dtype=np.int64)) + len(sizes)

    def counts(self) -> np.ndarray:
        """Return how many documents each list has, (n_lists,) int64; reads all chunks' sizes.

        Raises:
            CorruptIndexError: the offsets are impossible.
        """
        starts, ends = self._spans(self._chunk_starts, len(self._chunks[0]), np.arange(len(self)))
        before = offsets_of(self._chunks[1].whole().astype(np.int64) + 1)
        return before[ends] - before[starts]

    def spans(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where lists begin and end among the postings that are not in columns, (n,) int64 each, checked.

        Raises:
            CorruptIndexError: the offsets of one are impossible, or not what was written.
        """
        return self._spans(self._starts, len(self._rows), numbers)

    def touch(self, numbers: np.ndarray) -> None:
        """Compare whole lists with their checksums, so that a kernel may read them.

        Raises:
            CorruptIndexError: they are not what was written.
        """
        if all(array.is_checked for array in self._arrays):
            return
        spans = self.spans(numbers)
        self._rows.touch(*spans)
        self._values.touch(*(spans if len(self._values) else (spans[0][:0], spans[1][:0])))
        chunks = self._spans(self._chunk_starts, len(self._chunks[0]), numbers)
        for array in self._chunks:
            array.touch(*chunks)
        if len(self._dense_starts):
            self._dense.touch(*self._spans(self._dense_starts, len(self._dense), numbers))

    def rows_of(self, number: int, n_documents: int) -> np.ndarray:
        """Return the documents of a list without columns, (df,) int32, ascending, all below `n_documents`.

        Raises:
            IndexError: there is no such list.
            CorruptIndexError: it is damaged.
        """
        from indexes import packing_kernels

        if not 0 <= number < len(self):
            raise IndexError(f"no list {number} in {self._source}: there are {len(self):,}")
        numbers = np.array([number])
        self.touch(numbers)
        starts, ends = self.spans(numbers)
        first, last = self._spans(self._chunk_starts, len(self._chunks[0]), numbers)
        rows = np.empty(int(ends[0] - starts[0]), np.int32)
        windows, sizes, _ = (read_only(array.values[first[0] : last[0]]) for array in self._chunks)
        fits = packing_kernels.unchunk(windows, sizes, read_only(self._rows.values), starts[0], WINDOW_BITS, rows)
        if not fits or (len(rows) and (rows[0] < 0 or rows[-1] >= n_documents or (rows[1:] <= rows[:-1]).any())):
            raise self.damaged(f"points to a list (number {number}) of impossible documents")
        return rows

    def whole(self) -> Postings:
        """Return the same, all of it compared with its checksums; CorruptIndexError where they differ."""
        for array in self._arrays:
            array.whole()
        return self

    def for_kernels(self) -> PostingArrays:
        """Return the postings as kernels take them; unchecked: see `touch`."""
        return PostingArrays(*(array.values for array in self._arrays))

    @property
    def _arrays(self) -> list[CheckedArray]:
        arrays = [self._starts, self._chunk_starts, *self._chunks, self._rows, self._values]
        return [*arrays, self._dense_starts, self._dense]

    def _spans(self, offsets: CheckedArray, n_held: int, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        offsets.touch(numbers, numbers + 2)
        starts, ends = offsets.values[numbers], offsets.values[numbers + 1]
        if len(numbers) and not (starts.min() >= 0 and ends.max() <= n_held and (starts <= ends).all()):
            raise self.damaged("or a file beside it does not ascend")
        return starts, ends

    def damaged(self, what: str) -> CorruptIndexError:
        """Return the error to raise for what was found."""
        return CorruptIndexError(f"file damaged: {self._source} {what}; restore the index or index again")


def cut_into_chunks(
    starts: np.ndarray, rows: np.ndarray, values: np.ndarray
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
    """Return how many chunks each list has, the chunks' windows, sizes and bounds, and the rows within windows."""
    from indexes import packing_kernels

    counts = np.empty(len(starts) - 1, np.int64)
    lists = read_only(starts), read_only(rows)
    packing_kernels.count_chunks(*lists, WINDOW_BITS, counts)
    n_chunks = int(counts.sum())
    windows, sizes, bounds = np.empty(n_chunks, np.uint16), np.empty(n_chunks, np.uint16), np.empty(n_chunks, np.uint8)
    local_rows = np.empty(len(rows), np.uint16)
    packing_kernels.chunk(*lists, read_only(values), WINDOW_BITS, windows, sizes, bounds, local_rows)
    return counts, (windows, sizes, bounds), local_rows
