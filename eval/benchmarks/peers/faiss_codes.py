"""FAISS: binary codes packed to bits, all compared by Hamming distance.

Where all documents have the same number b of active dimensions, the nearest by Hamming distance h are those of the
largest overlap: |A(q) and A(d)| = (a + b - h) / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eval.benchmarks.peers.sparse import Found
from eval.benchmarks.sparse_vectors import SparseVectors

_BLOCK = 2_000  # codes packed at a time


class _Prepared(NamedTuple):
    codes: np.ndarray
    active: np.ndarray


class FaissCodes:
    """`IndexBinaryFlat` in memory; see `SparseSide`."""

    name = "faiss"
    exact = True
    points: Sequence[str] = ("",)

    def __init__(self, directory: Path, documents: SparseVectors, n_dimensions: int, threads: int) -> None:  # noqa: ARG002
        import faiss

        active = np.diff(documents.offsets)
        if len(active) and (active != active[0]).any():
            raise ValueError(
                "overlaps follow from Hamming distances only where all documents have equally many dimensions"
            )
        faiss.omp_set_num_threads(threads)
        self._active = int(active[0]) if len(active) else 0
        self._n_bits = -(-n_dimensions // 8) * 8
        self._index = faiss.IndexBinaryFlat(self._n_bits)
        for first in range(0, len(documents), _BLOCK):
            last = min(first + _BLOCK, len(documents))
            self._index.add(packed(documents.some(first, last), self._n_bits))

    @classmethod
    def build(cls, directory: Path, documents: SparseVectors, n_dimensions: int) -> None:
        """Do nothing: the codes are in memory."""

    def prepare(self, queries: SparseVectors) -> Any:
        """Pack the queries' codes."""
        return _Prepared(packed(queries, self._n_bits), np.diff(queries.offsets))

    def search(self, prepared: Any, k: int, point: str) -> Any:  # noqa: ARG002
        """Compare with all codes."""
        return self._index.search(prepared.codes, min(k, self._index.ntotal))

    def found(self, answers: Any, prepared: Any) -> list[Found]:
        """Turn distances into overlaps."""
        distances, rows = answers
        overlaps = (prepared.active[:, None] + self._active - distances.astype(np.int64)) // 2
        return [
            Found(row[overlap > 0].astype(np.int64), overlap[overlap > 0].astype(np.float64))
            for row, overlap in zip(rows, overlaps, strict=True)
        ]


def code_bytes(n: int, n_dimensions: int) -> int:
    """Return the bytes of n packed codes."""
    return n * -(-n_dimensions // 8)


def packed(vectors: SparseVectors, n_bits: int) -> np.ndarray:
    """Return the vectors as bits, (n, n_bits / 8) uint8; dimension i is bit i mod 8 of byte i // 8."""
    bits = np.zeros((len(vectors), n_bits), np.uint8)
    bits[np.repeat(np.arange(len(vectors)), np.diff(vectors.offsets)), vectors.dimensions] = 1
    return np.packbits(bits, axis=1, bitorder="little")
