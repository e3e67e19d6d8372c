"""Writing a `.npy` file, whole or block by block, for arrays whose length is known only at the end."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from indexes.file_operations import create


class ArrayWriter:
    """Writes an array to `<name>.npy` without holding it in memory; a context manager.

    The bytes are those that `numpy.save` writes for the whole array. The header is written first for no rows and again
    at the end: numpy pads it so that the final length fits. After an exception in its block the file stays unfinished,
    and is one without rows, followed by bytes that do not belong to it, to whoever opens it.

    Args:
        directory: where the file goes; there must be none of this name.
        name: its name without the ending.
        dtype: of the elements.
        row_shape: shape of one row; () for a flat array.
    """

    def __init__(self, directory: Path, name: str, dtype: npt.DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        self._dtype = np.dtype(dtype)
        self._row_shape = row_shape
        self._length = 0
        self._file = create(directory / f"{name}.npy")
        self._header_size = self._file.write(self._header())

    def append(self, block: np.ndarray) -> None:
        """Add rows, converted to the file's type, which must hold them."""
        if block.shape[1:] != self._row_shape:
            raise ValueError(f"rows of shape {block.shape[1:]} do not go into {self._file.name}, {self._row_shape}")
        self._file.write(np.ascontiguousarray(block, dtype=self._dtype).data)
        self._length += len(block)

    def _header(self) -> bytes:
        buffer = io.BytesIO()
        description = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._length, *self._row_shape),
        }
        np.lib.format.write_array_header_1_0(buffer, description)
        return buffer.getvalue()

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                header = self._header()
                if len(header) != self._header_size:
                    raise RuntimeError(
                        f"the header of {self._file.name} grew from {self._header_size} to {len(header)}"
                    )
                self._file.seek(0)
                self._file.write(header)


def save_array(directory: Path, name: str, array: np.ndarray) -> None:
    """Write an array that is in memory; durability is the business of `indexes.storage.replace_file`."""
    with ArrayWriter(directory, name, array.dtype, array.shape[1:]) as writer:
        writer.append(array)
