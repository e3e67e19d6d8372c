"""Qdrant Edge: Qdrant's storage in this process; an exact inverted index of sparse vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.benchmarks.peers.sparse import Found, vector
from eval.benchmarks.sparse_vectors import SparseVectors

_BLOCK = 5_000  # points handed over at a time
_FIELD = "vector"


class QdrantEdge:
    """An optimised shard; queries in one batch, as its documentation recommends; see `SparseSide`."""

    name = "qdrant-edge"
    exact = True
    points: Sequence[str] = ("",)

    def __init__(self, directory: Path, documents: SparseVectors, n_dimensions: int, threads: int) -> None:  # noqa: ARG002
        self._shard = _module().EdgeShard.load(str(directory))

    @classmethod
    def build(cls, directory: Path, documents: SparseVectors, n_dimensions: int) -> None:  # noqa: ARG003
        """Insert points, let the optimiser make one indexed segment, and flush."""
        library = _module()
        shard = library.EdgeShard.create(
            str(directory),
            library.EdgeConfig(
                sparse_vectors={_FIELD: library.EdgeSparseVectorParams(full_scan_threshold=0)},
                optimizers=library.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=1),
                wal_enabled=False,
            ),
        )
        for first in range(0, len(documents), _BLOCK):
            rows = range(first, min(first + _BLOCK, len(documents)))
            points = [library.Point(row, {_FIELD: _as_qdrant(documents, row)}) for row in rows]
            shard.update(library.UpdateOperation.upsert_points(points))
        shard.optimize()
        shard.flush()
        shard.close()

    def prepare(self, queries: SparseVectors) -> Any:
        """Return the vectors as queries."""
        library = _module()
        return [library.Query.Nearest(_as_qdrant(queries, number), using=_FIELD) for number in range(len(queries))]

    def search(self, prepared: Any, k: int, point: str) -> Any:  # noqa: ARG002
        """Ask all queries as one batch."""
        library = _module()
        requests = [library.QueryRequest(limit=k, query=query) for query in prepared]
        return self._shard.query_batch(library.QueryBatchRequest(requests))

    def found(self, answers: Any, prepared: Any) -> list[Found]:  # noqa: ARG002
        """Read the scored points."""
        return [
            Found(np.array([hit.id for hit in hits], np.int64), np.array([hit.score for hit in hits], np.float64))
            for hits in answers
        ]


def _as_qdrant(vectors: SparseVectors, number: int) -> Any:
    dimensions, weights = vector(vectors, number)
    return _module().SparseVector(dimensions.tolist(), weights.tolist())


def _module() -> Any:
    import qdrant_edge

    return qdrant_edge
