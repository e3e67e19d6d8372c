"""Token vectors on disk: packed rows without padding, memory-mapped, and read for the texts that are asked for alone.

A store is three arrays: `token-offsets`, (n + 1,) int64, where the rows of each text begin; `token-vectors`,
(n_tokens, width) float16 or int8; and for int8 `token-scales`, (n_tokens,) float32.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import numpy as np

from indexes.array_writer import ArrayWriter
from indexes.arrays import ArrayFolder
from indexes.errors import CorruptIndexError, VectorError
from indexes.token_vectors import DTYPES, Storage, TokenVectors, check_storage, row_numbers

OFFSETS, VECTORS, SCALES = "token-offsets", "token-vectors", "token-scales"

_ROWS_PER_CHECK = 1 << 22
_BYTES_PER_BLOCK = 16 << 20


class TokenStoreWriter:
    """Write a store as a stream, in blocks of any size; a context manager.

    Memory does not grow with the number of texts. The files are complete when the block has been left without an
    exception; nothing opens as a store before.

    Args:
        directory: an existing directory for the store's files.
        width: numbers of a token's vector, at least 1.
        storage: "float16" or "int8".

    Attributes:
        n_texts: texts written so far.
        n_tokens: their tokens.
    """

    def __init__(self, directory: Path, width: int, storage: Storage) -> None:
        check_storage(storage)
        if width < 1:
            raise VectorError(f"token vectors need a width of at least 1, not {width}")
        self._width = width
        self._dtype = np.dtype(DTYPES[storage])
        self.n_texts = self.n_tokens = 0
        with contextlib.ExitStack() as files:  # on an error all are closed, here and when they are written
            self._offsets = files.enter_context(ArrayWriter(directory, OFFSETS, "<i8"))
            self._values = files.enter_context(ArrayWriter(directory, VECTORS, self._dtype, (width,)))
            scaled = storage == "int8"
            self._scales = files.enter_context(ArrayWriter(directory, SCALES, "<f4")) if scaled else None
            self._offsets.append(np.zeros(1, np.int64))
            self._files = files.pop_all()

    def append(self, vectors: TokenVectors) -> None:
        """Add texts.

        Args:
            vectors: as they are stored (`token_vectors.encoded`).

        Raises:
            VectorError: they are not in order, not finite, or of another width or form than the store.
        """
        vectors.checked()
        if vectors.values.dtype != self._dtype or vectors.width != self._width:
            raise VectorError(
                f"this store holds {self._width} x {self._dtype}, not {vectors.width} x {vectors.values.dtype}"
            )
        self._offsets.append(vectors.offsets[1:] + self.n_tokens)
        self._values.append(vectors.values)
        if self._scales is not None and vectors.scales is not None:
            self._scales.append(vectors.scales)
        self.n_texts += len(vectors)
        self.n_tokens += len(vectors.values)

    def __enter__(self) -> TokenStoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.__exit__(kind, error, trace)


class TokenStore:
    """The token vectors of some texts, immutable, memory-mapped.

    What is read is compared with its checksums first, each block of a file once, and must be finite.

    Args:
        folder: where the files lie.
        storage: the form that they must have.

    Attributes:
        offsets: (n_texts + 1,) int64, ascending from 0.
        storage: "float16" or "int8".
        width: numbers of a token's vector.

    Raises:
        CorruptIndexError: a file is missing, has another type or size than the others say, or offsets run backwards.
    """

    def __init__(self, folder: ArrayFolder, storage: Storage) -> None:
        check_storage(storage)
        self._directory = folder.directory
        self.storage: Storage = storage
        self.offsets: np.ndarray = folder.load(OFFSETS, "<i8", (None,))
        if not len(self.offsets) or self.offsets[0] != 0 or not _ascends(self.offsets):
            raise CorruptIndexError(
                f"file damaged: {self._directory / OFFSETS}.npy does not ascend from 0; restore it or index again"
            )
        self._values = folder.unread(VECTORS, DTYPES[storage], (int(self.offsets[-1]), None))
        self._scales = folder.unread(SCALES, "<f4", (self.n_tokens,)) if storage == "int8" else None
        self.width: int = self._values.values.shape[1]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.offsets) - 1

    @property
    def n_tokens(self) -> int:
        """Token vectors of all texts."""
        return int(self.offsets[-1])

    def lengths(self, rows: np.ndarray) -> np.ndarray:
        """Return the tokens of texts, (n,) int64."""
        lengths: np.ndarray = self.offsets[rows + 1] - self.offsets[rows]
        return lengths

    def gather(self, rows: np.ndarray) -> TokenVectors:
        """Return a copy of the vectors of texts, packed, as they are stored.

        Args:
            rows: (n,) int64, numbers of texts in any order, also repeatedly.

        Raises:
            CorruptIndexError: they are not what was written, or not finite; names the file.
        """
        begins, sizes = self.offsets[rows], self.lengths(rows)
        self._values.touch(begins, begins + sizes)
        if self._scales is not None:
            self._scales.touch(begins, begins + sizes)
        places = row_numbers(begins, sizes)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        scales = None if self._scales is None else self._scales.values[places]
        vectors = TokenVectors(offsets, self._values.values[places], scales)
        try:
            return vectors.finite()
        except VectorError as error:
            raise CorruptIndexError(
                f"file damaged: {self._directory / VECTORS}.npy: {error}; restore it or index again"
            ) from None

    def blocks(self, rows: np.ndarray) -> Iterator[TokenVectors]:
        """Yield the vectors of texts in their order, some megabytes at a time, one text at least."""
        if not len(rows):
            return
        row_bytes = self.width * self._values.values.itemsize + (0 if self._scales is None else 4)
        ends = np.cumsum(self.lengths(rows) * row_bytes)
        start = 0
        while start < len(rows):
            before = int(ends[start - 1]) if start else 0
            end = max(int(np.searchsorted(ends, before + _BYTES_PER_BLOCK, side="right")), start + 1)
            yield self.gather(rows[start:end])
            start = end

    def problems(self) -> list[str]:
        """Return one line for what is wrong with the values, whatever their checksums say; reads all."""
        try:
            for _ in self.blocks(np.arange(len(self))):
                pass
        except CorruptIndexError as error:
            return [str(error)]
        return []


def _ascends(offsets: np.ndarray) -> bool:
    for start in range(0, len(offsets), _ROWS_PER_CHECK):
        part = offsets[start : start + _ROWS_PER_CHECK + 1]  # one more, to compare across the boundary
        if (part[1:] < part[:-1]).any():
            return False
    return True
