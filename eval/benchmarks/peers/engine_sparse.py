"""This engine's side of the sparse benchmark: an index of impacts or of bare dimensions, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.benchmarks.peers.sparse import Found
from indexes.sparse import SparseIndex, SparseIndexWriter, SparseSearcher, SparseSegment, SparseVectors

_BLOCK = 50_000  # vectors handed over at a time


class EngineIndex:
    """The engine's sparse index; see `SparseSide`."""

    name = "ours"
    exact = True
    points: Sequence[str] = ("",)

    def __init__(self, directory: Path, documents: SparseVectors, n_dimensions: int, threads: int) -> None:  # noqa: ARG002
        sequences = np.arange(len(documents), dtype=np.int64)
        self._searcher = SparseSearcher([SparseSegment(SparseIndex.open(directory), None, sequences)])
        self._threads = threads

    @classmethod
    def build(cls, directory: Path, documents: SparseVectors, n_dimensions: int) -> None:  # noqa: ARG003
        """Write the index."""
        with SparseIndexWriter(directory, "binary" if documents.weights is None else "impacts") as writer:
            for first in range(0, len(documents), _BLOCK):
                writer.add_many(documents.some(first, min(first + _BLOCK, len(documents))))

    def prepare(self, queries: SparseVectors) -> Any:
        """Return the queries as they are."""
        return queries

    def search(self, prepared: Any, k: int, point: str) -> Any:
        """Search for all queries."""
        return self._searcher.search_many(prepared, k, threads=self._threads, daring=float(point or 1))

    def found(self, answers: Any, prepared: Any) -> list[Found]:  # noqa: ARG002
        """Read the hits."""
        return [Found(hits.rows, hits.scores) for hits in answers]


class DaringEngineIndex(EngineIndex):
    """The same index, searched approximately: the knob is `daring`, see `SparseSearcher.search_many`."""

    name = "ours, daring"
    exact = False
    points: Sequence[str] = ("3", "2", "1.5", "1.25", "1.1")
