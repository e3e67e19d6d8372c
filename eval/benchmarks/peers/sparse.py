"""What every side of the sparse benchmark can do, and how vectors go from process to process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from eval.benchmarks.sparse_vectors import SparseVectors

_PARTS = ("offsets", "dimensions", "weights")


class Found(NamedTuple):
    """The answer to one query: rows of documents (k,) int64 and their scores (k,) float64, best first."""

    rows: np.ndarray
    scores: np.ndarray


class SparseSide(Protocol):
    """One library over sparse vectors, opened for searching.

    Three steps, of which the second is timed: `prepare` brings queries into the library's own form, `search` answers
    them in its own form, `found` reads the answers.

    Attributes:
        name: of the library.
        exact: whether scores must equal those of brute force.
        points: settings to measure, from fast to thorough; one empty string where there is nothing to set.
    """

    name: str
    exact: bool
    points: Sequence[str]

    def __init__(self, directory: Path, documents: SparseVectors, n_dimensions: int, threads: int) -> None:
        """Open what `build` wrote, or index the documents in memory."""

    @classmethod
    def build(cls, directory: Path, documents: SparseVectors, n_dimensions: int) -> None:
        """Index the documents in a directory that exists and is empty, if the library keeps files."""

    def prepare(self, queries: SparseVectors) -> Any:
        """Bring queries into the library's form."""

    def search(self, prepared: Any, k: int, point: str) -> Any:
        """Find the best k documents of each query."""

    def found(self, answers: Any, prepared: Any) -> list[Found]:
        """Read the answers, without those of score 0."""


def vector(vectors: SparseVectors, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return dimensions and float32 weights of one vector."""
    one = vectors.some(number, number + 1)
    weights = np.ones(len(one.dimensions), np.float32) if one.weights is None else one.weights
    return one.dimensions, weights.astype(np.float32, copy=False)


def matrix(vectors: SparseVectors, n_dimensions: int) -> Any:
    """Return the vectors as a scipy CSR matrix, (n, n_dimensions) float32."""
    from scipy.sparse import csr_matrix

    n = len(vectors.dimensions)
    weights = np.ones(n, np.float32) if vectors.weights is None else vectors.weights.astype(np.float32)
    return csr_matrix((weights, vectors.dimensions, vectors.offsets), shape=(len(vectors), n_dimensions))


def top(scores: np.ndarray, k: int) -> Found:
    """Return the best k of a score for each document, those above 0 only."""
    rows = np.argpartition(-scores, k)[:k] if k < len(scores) else np.arange(len(scores))
    rows = rows[scores[rows] > 0]
    rows = rows[np.lexsort((rows, -scores[rows]))]
    return Found(rows.astype(np.int64), scores[rows].astype(np.float64))


def write_vectors(directory: Path, name: str, vectors: SparseVectors) -> None:
    """Write vectors for `read_vectors`."""
    for part in _PARTS:
        values = getattr(vectors, part)
        if values is not None:
            np.save(directory / f"{name}-{part}.npy", values, allow_pickle=False)


def read_vectors(directory: Path, name: str) -> SparseVectors:
    """Map vectors that `write_vectors` wrote."""
    paths = [directory / f"{name}-{part}.npy" for part in _PARTS]
    parts = [np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else None for path in paths]
    offsets, dimensions, weights = parts
    if offsets is None or dimensions is None:
        raise FileNotFoundError(f"no vectors {name!r} in {directory}")
    return SparseVectors(np.asarray(offsets), dimensions, weights)
