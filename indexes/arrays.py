"""Arrays on disk: one `.npy` file each, memory-mapped on open (small ones are read) and checked against expectations.

Every mapping keeps its file open, and a process may open only so many: a collection of dozens of small segments must
not use them up. So what is small is read, which is faster besides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from indexes.errors import CorruptIndexError, StorageError

_READ_UP_TO = 256 << 10
"""Bytes of a file that is read rather than mapped."""


def save_array(directory: Path, name: str, array: np.ndarray) -> None:
    """Write an array to `<name>.npy`; durability is the business of `indexes.storage.replace_file`."""
    np.save(directory / f"{name}.npy", array, allow_pickle=False)


def load_array(directory: Path, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> np.ndarray:
    """Map the array in `<name>.npy`, read-only; a small one is read.

    Args:
        directory: where the file lies.
        name: its name without the ending.
        dtype: what it must hold.
        shape: the shape it must have; None for a length that the caller cannot know.

    Raises:
        CorruptIndexError: the file is missing, is not an array, or has another type or shape; the message names it.
        StorageError: the system does not let us read it.
    """
    path = directory / f"{name}.npy"
    try:
        array = _map(path)
    except FileNotFoundError as error:
        raise CorruptIndexError(f"file damaged: {path} ({error}); restore it or index again") from None
    except OSError as error:
        raise StorageError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # numpy parses a damaged header as Python source, which fails in many ways
        raise CorruptIndexError(f"file damaged: {path} ({error}); restore it or index again") from None
    fits = len(array.shape) == len(shape) and all(
        wanted is None or wanted == found for wanted, found in zip(shape, array.shape, strict=True)
    )
    if array.dtype != np.dtype(dtype) or not fits:
        raise CorruptIndexError(
            f"file damaged: {path} holds {array.dtype} {array.shape}, expected {np.dtype(dtype)} {shape}"
        )
    return array


def _map(path: Path) -> np.ndarray:
    # An array without elements cannot be mapped; its file is small.
    mode: Literal["r"] | None = "r" if path.stat().st_size > _READ_UP_TO else None
    with path.open("rb") as file:
        # `np.load` would also open archives, which are none of ours.
        if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            raise ValueError("not an .npy file")
    array = np.asarray(np.load(path, mmap_mode=mode, allow_pickle=False))  # a plain array is faster than `memmap`
    array.flags.writeable = False
    return array
