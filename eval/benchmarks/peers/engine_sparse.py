"""This engine's side of the sparse benchmark: an index of impacts or of bare dimensions, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from eval.benchmarks.peers.sparse import Found, n_vectors, some_vectors
from eval.benchmarks.sparse_vectors import SparseVectors

_MODULE = "indexes.sparse"
_BLOCK = 50_000  # vectors handed over at a time


class EngineIndex:
    """The engine's sparse index; see `SparseSide`."""

    name = "ours"
    exact = True
    points: Sequence[str] = ("",)

    def __init__(self, directory: Path, documents: SparseVectors, n_dimensions: int, threads: int) -> None:  # noqa: ARG002
        engine = import_module(_MODULE)
        sequences = np.arange(n_vectors(documents), dtype=np.int64)
        segment = engine.SparseSegment(engine.SparseIndex.open(directory), None, sequences)
        self._searcher = engine.SparseSearcher([segment])
        self._threads = threads

    @classmethod
    def build(cls, directory: Path, documents: SparseVectors, n_dimensions: int) -> None:  # noqa: ARG003
        """Write the index."""
        writer = import_module(_MODULE).SparseIndexWriter(payload="binary" if documents.weights is None else "impacts")
        for first in range(0, n_vectors(documents), _BLOCK):
            writer.add_many(_as_engine(some_vectors(documents, first, min(first + _BLOCK, n_vectors(documents)))))
        writer.write(directory)

    def prepare(self, queries: SparseVectors) -> Any:
        """Return the queries as the engine's type."""
        return _as_engine(queries)

    def search(self, prepared: Any, k: int, point: str) -> Any:  # noqa: ARG002
        """Search for all queries."""
        return self._searcher.search_many(prepared, k, threads=self._threads)

    def found(self, answers: Any, prepared: Any) -> list[Found]:  # noqa: ARG002
        """Read the hits."""
        return [Found(hits.rows, hits.scores) for hits in answers]


def engine_missing() -> str | None:
    """Return why the engine's side cannot take part; None where it can."""
    if find_spec(_MODULE) is not None:
        return None
    return f"ours is left out: this version of the engine has no module {_MODULE}"


def _as_engine(vectors: SparseVectors) -> Any:
    return import_module("indexes.sparse_vectors").SparseVectors(*vectors)
