"""Arrays on disk: one `.npy` file each, memory-mapped on open and checked against what the caller expects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexes.errors import CorruptIndexError


def save_array(directory: Path, name: str, array: np.ndarray) -> None:
    """Write an array to `<name>.npy`; durability is the business of `indexes.storage.seal`."""
    np.save(directory / f"{name}.npy", array, allow_pickle=False)


def load_array(directory: Path, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> np.ndarray:
    """Map the array in `<name>.npy`, read-only.

    Args:
        directory: where the file lies.
        name: its name without the ending.
        dtype: what it must hold.
        shape: the shape it must have; None for a length that the caller cannot know.

    Raises:
        CorruptIndexError: the file is missing, is not an array, or has another type or shape; the message names it.
    """
    path = directory / f"{name}.npy"
    try:
        array = _map(path)
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
    with path.open("rb") as file:
        # `np.load` would also open archives, which are none of ours.
        if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            raise ValueError("not an .npy file")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:
        # An array without elements cannot be mapped; anything else that is wrong with the file fails again here.
        array = np.load(path, allow_pickle=False)
        if array.size:
            raise
        array.flags.writeable = False
        return array
