"""A searcher's arrays on disk, checked before anything of FAISS sees them.

FAISS reads and writes files of its own, and trusts what it reads: a crafted one could make it allocate without bound or
reach outside its arrays. So it never gets a file here. A searcher is a few plain arrays, and opening one copies them
into FAISS after every size, value, id and link in them has been checked.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from indexes.arrays import load_array
from indexes.errors import CorruptIndexError
from indexes.vectors import LARGEST_NORM

_ADVICE = "build the searcher again"
_GENERAL_ADVICE = "; restore it or index again"
# Ranges are differences of two values of vectors.
_LARGEST_VALUE = 2 * LARGEST_NORM


def load_part(directory: Path, name: str, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return one of a searcher's arrays, mapped or read, in C order; see `indexes.arrays.load_array`.

    Raises:
        CorruptIndexError: the file is missing, or holds something else; names it.
        StorageError: the system does not let us read it.
    """
    try:
        return load_array(directory, name, dtype, shape)
    except CorruptIndexError as error:
        raise CorruptIndexError(f"{str(error).removesuffix(_GENERAL_ADVICE)}; {_ADVICE}") from None


def load_values(directory: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of ranges, means or centroids, float32, whose values `check_values` accepts.

    Raises:
        CorruptIndexError: as `load_part` and `check_values`.
        StorageError: as `load_part`.
    """
    values = load_part(directory, name, "<f4", shape)
    check_values(values, path_of(directory, name))
    return values


def check_values(values: np.ndarray, path: Path) -> None:
    """Raise CorruptIndexError unless every value could be a vector's.

    On NaN a walk through a graph can hang, and sums of infinite values are NaN. Reads all values: check the size first.
    """
    # A NaN makes both extremes NaN, which is not less than anything.
    if values.size and not (values.min() >= -_LARGEST_VALUE and values.max() <= _LARGEST_VALUE):
        raise damaged(path, "it holds values that no vector has")


def path_of(directory: Path, name: str) -> Path:
    """Return the file in which an array of a searcher lies."""
    return directory / f"{name}.npy"


def damaged(path: Path, what: str) -> CorruptIndexError:
    """Return the error about a file that cannot be what was written."""
    return CorruptIndexError(f"file damaged: {path} ({what}); {_ADVICE}")
