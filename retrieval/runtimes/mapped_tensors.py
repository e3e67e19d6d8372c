"""Tensors of a safetensors file as arrays over the mapped file: only what is read comes into memory.

The library copies a tensor when it is asked for; a query reads a few rows of a table of word vectors that is half of
a small model.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from retrieval.errors import EncoderError

_HEADER_LIMIT = 100_000_000
"""Largest header that safetensors itself accepts, in bytes."""


def map_float_tensors(path: Path) -> dict[str, np.ndarray]:
    """Return a file's float32 tensors by name, read-only; tensors of other types are left out.

    The layout (a length, a JSON header, the bytes of all tensors) is https://github.com/huggingface/safetensors#format.

    Raises:
        EncoderError: the file is damaged.
    """
    try:
        with path.open("rb") as file:
            header, length = _header(file)
        content = np.memmap(path, np.uint8, mode="r")[length:]
        return {
            name: _tensor(content, entry)
            for name, entry in header.items()
            if name != "__metadata__" and entry["dtype"] == "F32"
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EncoderError(f"{path} cannot be read: {error}") from None


class MappedFile:
    """A file that is mapped, as it was when it was opened.

    A file that was replaced or removed goes on under the mapping as it was. One that was written over does not: its
    arrays change under their reader, and where it has become shorter the system ends the process.

    Args:
        path: of the file, before it is mapped.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = path.stat()

    def is_overwritten(self) -> bool:
        """Tell whether the file was written over in its place."""
        try:
            now = self._path.stat()
        except OSError:
            return False  # removed
        before = self._before
        same_file = (now.st_dev, now.st_ino) == (before.st_dev, before.st_ino)
        return same_file and (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)


def _header(file: IO[bytes]) -> tuple[dict[str, Any], int]:
    """Return what a file says of its tensors, and where their bytes begin."""
    length = int.from_bytes(file.read(8), "little")
    text = file.read(min(length, _HEADER_LIMIT))
    if len(text) < length:
        raise ValueError("its header is not complete")
    return json.loads(text), 8 + length


def _tensor(content: np.ndarray, entry: Mapping[str, list[int]]) -> np.ndarray:
    shape = tuple(entry["shape"])
    start, end = entry["data_offsets"]
    if not (0 <= start <= end <= len(content)) or any(side < 0 for side in shape):
        raise ValueError("a tensor lies outside of the file")
    flat = content[start:end].view(np.float32)  # a ValueError where the bytes do not make up whole numbers
    array: np.ndarray = flat.reshape(shape)
    return array if array.flags.aligned else array.copy()
