"""FAISS as this package uses it: loaded late, its threads under control, its memory reached as arrays."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any

import numpy as np


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


def view(vector: Any) -> np.ndarray:
    """Return the numbers of one of FAISS's vectors, without a copy; valid as long as its index lives."""
    faiss = load_faiss()
    if vector.size() == 0:
        return faiss.vector_to_array(vector)
    return faiss.rev_swig_ptr(vector.data(), vector.size())


def fill(vector: Any, array: np.ndarray) -> None:
    """Give one of FAISS's vectors the numbers of an array of any shape, in C order; the only copy of them."""
    vector.resize(array.size)
    if array.size:
        view(vector)[:] = array.reshape(-1)


def selector_of(allowed: np.ndarray | None) -> Any:
    """Return FAISS's form of a selection of passages, or None for all."""
    if allowed is None:
        return None
    return load_faiss().IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
