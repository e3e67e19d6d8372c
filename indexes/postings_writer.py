"""Writing postings: lists as a stream, cut into chunks and columns."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np

from indexes.array_writer import ArrayWriter, save_array
from indexes.lists import offsets_of
from indexes.postings import (
    BOUNDS,
    CHUNK_STARTS,
    DENSE,
    DENSE_SHARE,
    DENSE_STARTS,
    ROWS,
    SIZES,
    STARTS,
    VALUES,
    WINDOW_BITS,
    WINDOWS,
    cut_into_chunks,
)


class PostingsWriter:
    """Writes postings as a stream of lists; a context manager. Memory: what is appended at a time, and 24 bytes a list.

    Args:
        directory: where the files go; the caller makes them durable.
        with_values: whether postings have values.
        columns_of: number of documents of the index where chunks may be columns; None where they may not.
    """

    def __init__(self, directory: Path, *, with_values: bool, columns_of: int | None = None) -> None:
        self._directory = directory
        self._columns_of = columns_of
        self._offsets: dict[str, list[np.ndarray]] = {STARTS: [], CHUNK_STARTS: [], DENSE_STARTS: []}
        files = {WINDOWS: np.uint16, SIZES: np.uint16, BOUNDS: np.uint8, ROWS: np.uint16}
        files |= {VALUES: np.uint8} if with_values else {}
        files |= {DENSE: np.uint8} if columns_of is not None else {}
        with ExitStack() as opened:  # on an error all are closed, here and when they are written
            self._files = {
                name: opened.enter_context(ArrayWriter(directory, name, dtype)) for name, dtype in files.items()
            }
            self._opened = opened.pop_all()

    def __enter__(self) -> PostingsWriter:
        return self

    def append(self, starts: np.ndarray, rows: np.ndarray, values: np.ndarray) -> None:
        """Write the next lists: `rows`, int32, and `values`, uint8, of list i are at starts[i]:starts[i + 1]."""
        counts, (windows, sizes, bounds), local_rows = cut_into_chunks(starts, rows, values)
        lengths = np.diff(starts)
        dense = np.empty(0, np.uint8)
        if self._columns_of is not None:
            widths = np.minimum(self._columns_of - (windows.astype(np.int64) << WINDOW_BITS), 1 << WINDOW_BITS)
            is_column = (sizes.astype(np.int64) + 1) * DENSE_SHARE >= widths
            dense = _columns(is_column, sizes, widths, local_rows, values)
            in_columns = np.repeat(is_column, sizes.astype(np.int64) + 1)
            local_rows, values = local_rows[~in_columns], values[~in_columns]
            lists = np.repeat(np.arange(len(counts)), counts)[is_column]
            taken = np.bincount(lists, sizes[is_column].astype(np.float64) + 1, len(counts))
            lengths = lengths - taken.astype(np.int64)
            self._offsets[DENSE_STARTS].append(np.bincount(lists, widths[is_column], len(counts)).astype(np.int64))
        self._offsets[STARTS].append(lengths)
        self._offsets[CHUNK_STARTS].append(counts)
        contents = {WINDOWS: windows, SIZES: sizes, BOUNDS: bounds, ROWS: local_rows, VALUES: values, DENSE: dense}
        for name, file in self._files.items():
            file.append(contents[name])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)
        if kind is None:
            for name, sizes in self._offsets.items():
                if name != DENSE_STARTS or self._columns_of is not None:
                    save_array(self._directory, name, offsets_of(np.concatenate([np.empty(0, np.int64), *sizes])))


def _columns(
    is_column: np.ndarray, sizes: np.ndarray, widths: np.ndarray, local_rows: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Return the columns of the chosen chunks, one after the other, uint8."""
    begins = offsets_of(sizes.astype(np.int64) + 1)
    chosen = np.flatnonzero(is_column)
    targets = offsets_of(widths[chosen])
    dense = np.zeros(targets[-1], np.uint8)
    for number, chunk in enumerate(chosen.tolist()):
        postings = slice(begins[chunk], begins[chunk + 1])
        dense[targets[number] + local_rows[postings].astype(np.int64)] = values[postings]
    return dense
