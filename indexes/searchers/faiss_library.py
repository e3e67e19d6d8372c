"""FAISS as this package uses it: loaded late, its threads under control, its files checked before it parses them."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from indexes.errors import CorruptIndexError
from indexes.file_operations import create
from indexes.vectors import LARGEST_NORM

INDEX_FILE = "index.faiss"
_BLOCK = 1 << 20
_INNER_PRODUCT = 0  # faiss.METRIC_INNER_PRODUCT
_FLOAT_HEADER = struct.Struct("<4siqqq?i")  # kind, dimension, entries, two unused, trained, metric
_BINARY_HEADER = struct.Struct("<4siiq?i")  # kind, bits, bytes of a code, entries, trained, metric


@cache
def load_faiss() -> ModuleType:
    """Return the module `faiss`."""
    import faiss

    if hasattr(os, "register_at_fork"):
        # OpenMP's threads do not survive a fork, and a child that waits for them waits for ever.
        os.register_at_fork(after_in_child=lambda: faiss.omp_set_num_threads(1))
    return faiss


@contextlib.contextmanager
def faiss_threads(threads: int) -> Iterator[None]:
    """Build with so many threads."""
    faiss = load_faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def write_index(index: Any, directory: Path) -> None:
    """Write an index, of floats or binary, into `directory`.

    FAISS hands its bytes over in blocks: so they go the way of all other files, and a full disk is an OSError.
    """
    faiss = load_faiss()
    write = faiss.write_index_binary if isinstance(index, faiss.IndexBinary) else faiss.write_index
    with create(directory / INDEX_FILE) as file:
        write(index, faiss.PyCallbackIOWriter(file.write, _BLOCK))


def read_index(directory: Path, kind: bytes, n_passages: int, dimension: int, code_bytes: int) -> Any:
    """Read an index of the expected kind and size.

    Args:
        directory: where `write_index` wrote it.
        kind: the four letters that FAISS begins such a file with.
        n_passages: entries that it must have.
        dimension: of its vectors; bits of a code where the kind is binary.
        code_bytes: bytes of one entry's code; the file must be larger than all of them.

    Raises:
        CorruptIndexError: the file is missing or does not fit; names it.
    """
    path = directory / INDEX_FILE
    binary = kind == b"IBxF"
    header = _BINARY_HEADER if binary else _FLOAT_HEADER
    try:
        with path.open("rb") as file:
            fields = header.unpack(file.read(header.size))
        size = path.stat().st_size
    except (OSError, struct.error) as error:
        raise damaged(path, str(error)) from None
    found_kind, found_dimension, entries, metric = fields[0], fields[1], fields[3 if binary else 2], fields[-1]
    if (found_kind, found_dimension, entries) != (kind, dimension, n_passages):
        raise damaged(
            path, f"{found_kind!r} of {entries:,} x {found_dimension}, not {kind!r} {n_passages:,} x {dimension}"
        )
    if not fields[-2]:
        raise damaged(path, "its quantiser is not trained")
    if not binary and metric != _INNER_PRODUCT:
        raise damaged(path, f"metric {metric} is not the inner product")
    if size < n_passages * code_bytes:
        raise damaged(path, f"{size:,} bytes are too few for {n_passages:,} codes of {code_bytes}")
    faiss = load_faiss()
    try:
        return faiss.read_index_binary(str(path)) if binary else faiss.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        raise damaged(path, str(error).splitlines()[-1] if str(error) else type(error).__name__) from None


def damaged(path: Path, what: str) -> CorruptIndexError:
    """Return the error about a file that cannot be what was written."""
    return CorruptIndexError(f"file damaged: {path} ({what}); build the searcher again")


def view(vector: Any) -> np.ndarray:
    """Return the numbers of one of FAISS's vectors, without a copy; valid as long as its index lives."""
    faiss = load_faiss()
    if vector.size() == 0:
        return faiss.vector_to_array(vector)
    return faiss.rev_swig_ptr(vector.data(), vector.size())


def check_values(vector: Any, path: Path) -> None:
    """Raise CorruptIndexError where ranges or centroids are impossible: on NaN a walk through a graph can hang."""
    if vector.size() and not (np.abs(view(vector)) <= 2 * LARGEST_NORM).all():
        raise damaged(path, "its quantiser holds values that no vector has")


def selector_of(allowed: np.ndarray | None) -> Any:
    """Return FAISS's form of a selection of passages, or None for all."""
    if allowed is None:
        return None
    return load_faiss().IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
