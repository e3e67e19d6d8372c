"""Vectors on disk: every passage's vector once, in full precision, and the document row that it belongs to.

A store is a directory of plain arrays, written as a stream and opened by memory map, so that it may be larger than the
memory. Exact search reads it as it is; the searchers in `indexes.searchers` are derived from it and disposable.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType

import numpy as np

from indexes.array_writer import ArrayWriter, save_array
from indexes.arrays import ArrayFolder, CheckedArray
from indexes.errors import CorruptIndexError, VectorError

# Inner products of vectors that are no longer, and sums of millions of those, stay far below the largest float32
# (3.4e38): neither the matrix products of exact search nor the searchers' graphs and centroids meet an infinite value.
LARGEST_NORM = 1e15
# A vector this close to length 1 is left as it is: dividing it again would only move its last bits.
_UNIT_TOLERANCE = 2.0**-22
_ROWS_PER_CHECK = 1 << 22


def check_vectors(vectors: np.ndarray, dimension: int | None = None) -> np.ndarray:
    """Return vectors as the indexes hold them: float32, C order, finite, not too long.

    Args:
        vectors: (n, d), any real type.
        dimension: what d must be; None when any will do.

    Raises:
        VectorError: another shape, dimension or type, or a value that is NaN, infinite or too large; names the row.
    """
    checked = _finite(vectors, dimension)
    too_long = np.flatnonzero(norms(checked) > LARGEST_NORM)
    if len(too_long):
        raise VectorError(f"vector {too_long[0]} is longer than {LARGEST_NORM:g}; scale the vectors down")
    return checked


def _finite(vectors: np.ndarray, dimension: int | None) -> np.ndarray:
    given = np.asarray(vectors)
    if given.ndim != 2 or given.dtype.kind not in "fiub":
        raise VectorError(f"vectors must be real numbers of shape (n, dimension), got {given.dtype} {given.shape}")
    if dimension is not None and given.shape[1] != dimension:
        raise VectorError(f"vectors have {given.shape[1]} dimensions, this index has {dimension}; use one encoder")
    with np.errstate(over="ignore"):
        checked = np.ascontiguousarray(given, dtype=np.float32)  # (n, d)
    finite = np.isfinite(checked).all(axis=1)
    if not finite.all():
        raise VectorError(f"vector {int(np.argmin(finite))} holds NaN or an infinite value; leave it out or repair it")
    return checked


def norms(vectors: np.ndarray) -> np.ndarray:
    """Return the Euclidean length of each row, (n,) float64."""
    return np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Return vectors scaled to length 1, after which their inner product is the cosine; (n, d) float32.

    Use it on passages and queries alike where the similarity is "cosine", before they reach an index: there everything
    is an inner product. Zero vectors stay zero and score 0 with everything. Doing it twice changes no bit.

    Raises:
        VectorError: as `check_vectors`, but vectors may be of any length.
    """
    checked = _finite(vectors, None)
    lengths = norms(checked)
    # Lengths come from float64 sums, so neither tiny nor long vectors under- or overflow on the way.
    leave = (np.abs(lengths - 1.0) <= _UNIT_TOLERANCE) | (lengths == 0.0)
    scale = np.where(leave, 1.0, lengths)[:, None]  # (n, 1)
    return (checked / scale).astype(np.float32)


class VectorStoreWriter:
    """Write a store as a stream, in blocks of any size; a context manager.

    Memory does not grow with the number of vectors. The files are complete when the block has been left without an
    exception; nothing opens as a store before.

    Args:
        directory: an existing directory for the store's files.
        dimension: d, at least 1.
    """

    def __init__(self, directory: Path, dimension: int) -> None:
        if dimension < 1:
            raise VectorError(f"the dimension must be at least 1, got {dimension}")
        self._directory = directory
        self._dimension = dimension
        self._n_passages = 0
        self._last_row = 0
        self._largest_norm = 0.0
        with contextlib.ExitStack() as files:  # on an error both are closed, here and when they are written
            self._vectors = files.enter_context(ArrayWriter(directory, "vectors", "<f4", (dimension,)))
            self._rows = files.enter_context(ArrayWriter(directory, "passage-rows", "<i4"))
            self._files = files.pop_all()

    def append(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        """Add passages.

        Args:
            vectors: (m, d) stored as they are, in float32; `normalise` them before if the similarity is "cosine".
            rows: (m,) the document row of each, never smaller than one before.

        Raises:
            VectorError: what `check_vectors` refuses, or rows that do not fit.
        """
        checked = check_vectors(vectors, self._dimension)
        rows = np.asarray(rows)
        if rows.shape != (len(checked),) or rows.dtype.kind not in "iu":
            raise VectorError(f"{len(checked)} vectors need as many whole row numbers, got {rows.dtype} {rows.shape}")
        if not len(rows):
            return
        if int(rows[0]) < self._last_row or (rows[1:] < rows[:-1]).any() or int(rows[-1]) > np.iinfo(np.int32).max:
            raise VectorError("document rows must not decrease from passage to passage, nor pass 2**31 - 1")
        self._vectors.append(checked)
        self._rows.append(rows)
        self._n_passages += len(rows)
        self._last_row = int(rows[-1])
        self._largest_norm = max(self._largest_norm, float(norms(checked).max()))

    def __enter__(self) -> VectorStoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)
        if kind is None:
            save_array(self._directory, "largest-norm", np.array([self._largest_norm]))


class VectorStore:
    """The vectors of one segment, immutable, memory-mapped.

    Searches read `vectors` as they are: comparing them with their checksums would take longer than the search. What
    copies vectors elsewhere takes them from `gather`, or calls `check` first, so that damage never gets new checksums.

    Attributes:
        vectors: (n_passages, dimension) float32, C order, read-only; not compared with checksums.
        rows: (n_passages,) int32, document row of each passage, non-decreasing; a document may have several or none.
        largest_norm: no vector is longer than this.
        n_documents: how many documents have a passage.
    """

    def __init__(
        self, vectors: np.ndarray, rows: np.ndarray, largest_norm: float, stored: CheckedArray | None = None
    ) -> None:
        self.vectors = vectors
        self._stored = CheckedArray(vectors) if stored is None else stored
        self.rows = rows
        self.largest_norm = largest_norm
        self.n_passages, self.dimension = vectors.shape
        self.n_documents = 0
        for start in range(0, len(rows), _ROWS_PER_CHECK):
            part = rows[max(0, start - 1) : start + _ROWS_PER_CHECK]  # one before, to compare across the boundary
            self.n_documents += int(np.count_nonzero(part[1:] != part[:-1])) + (start == 0)

    @classmethod
    def open(cls, directory: Path) -> VectorStore:
        """Map the finished store in a directory; see `from_folder`."""
        return cls.from_folder(ArrayFolder(directory))

    @classmethod
    def from_folder(cls, folder: ArrayFolder) -> VectorStore:
        """Map a finished store.

        Raises:
            CorruptIndexError: a file is missing, has another size or type than its parts say, or rows run backwards.
        """
        directory = folder.directory
        stored = folder.unread("vectors", "<f4", (None, None))
        vectors = stored.values
        rows = folder.load("passage-rows", "<i4", (len(vectors),))
        for start in range(0, len(rows), _ROWS_PER_CHECK):
            part = rows[max(0, start - 1) : start + _ROWS_PER_CHECK]
            if part[0] < 0 or (part[1:] < part[:-1]).any():
                raise CorruptIndexError(f"file damaged: {directory / 'passage-rows.npy'} has rows that run backwards")
        largest_norm = float(folder.load("largest-norm", "<f8", (1,))[0])
        if not 0.0 <= largest_norm <= LARGEST_NORM:
            raise CorruptIndexError(f"file damaged: {directory / 'largest-norm.npy'} holds {largest_norm}")
        return cls(vectors, rows, largest_norm, stored)

    def passages_of(self, row: int) -> tuple[int, int]:
        """Return the positions [start, stop) of a document's passages; start == stop when it has none."""
        # Of the same type: NumPy would convert all rows first.
        start, stop = np.searchsorted(self.rows, np.array([row, row + 1], self.rows.dtype))
        return int(start), int(stop)

    def gather(self, positions: np.ndarray) -> np.ndarray:
        """Return a copy of the vectors at `positions` (m,), as (m, d) float32, compared with their checksums.

        Raises:
            CorruptIndexError: they are not what was written; names the file.
        """
        self._stored.touch(positions, positions + 1)
        return self.vectors[positions]

    def check(self) -> None:
        """Compare all vectors with their checksums; raises what `gather` raises."""
        self._stored.whole()

    def problems(self) -> list[str]:
        """Return one line for each thing wrong with the values (NaN, infinite, longer than recorded); reads all."""
        for start in range(0, self.n_passages, 1 << 14):
            lengths = norms(self.vectors[start : start + (1 << 14)])
            bad = np.flatnonzero(~(lengths <= self.largest_norm))
            if len(bad):
                return [f"vector {start + int(bad[0])} is not finite or longer than recorded ({self.largest_norm:g})"]
        return []
