"""BMP: block-max pruning over learned sparse vectors (Mallia et al., 2024).

It rounds the weights of a query to integers of its own, so that even its safest setting is not exact, and its searches
run one at a time. Its authors reorder documents so that similar ones share a block; here they come in random order, as
on every side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eval.benchmarks.peers.sparse import Found, vector
from eval.benchmarks.sparse_vectors import SparseVectors

_BLOCK_SIZE = 32
_POINTS = {
    "alpha 0.7, beta 0.7": (0.7, 0.7),
    "alpha 0.85, beta 0.85": (0.85, 0.85),
    "alpha 1, beta 0.9": (1.0, 0.9),
    "alpha 1, beta 1": (1.0, 1.0),
}


class BlockMaxPruning:
    """BMP with compressed ranges; see `SparseSide`."""

    name = "bmp"
    exact = False
    points: Sequence[str] = tuple(_POINTS)

    def __init__(self, directory: Path, documents: SparseVectors, n_dimensions: int, threads: int) -> None:  # noqa: ARG002
        from bmp import Searcher

        self._searcher = Searcher(str(directory / "index.bmp"))

    @classmethod
    def build(cls, directory: Path, documents: SparseVectors, n_dimensions: int) -> None:  # noqa: ARG003
        """Index the impacts."""
        from bmp import Indexer

        indexer = Indexer(str(directory / "index.bmp"), bsize=_BLOCK_SIZE, compress_range=True)
        for row in range(len(documents)):
            dimensions, weights = vector(documents, row)
            names = map(str, dimensions.tolist())
            indexer.add_document(str(row), dict(zip(names, weights.astype(np.int64).tolist(), strict=True)))
        indexer.finish()

    def prepare(self, queries: SparseVectors) -> Any:
        """Return mappings from dimensions as strings to weights."""
        pairs = (vector(queries, number) for number in range(len(queries)))
        return [dict(zip(map(str, names.tolist()), weights.tolist(), strict=True)) for names, weights in pairs]

    def search(self, prepared: Any, k: int, point: str) -> Any:
        """Ask one query after the other."""
        alpha, beta = _POINTS[point]
        return [self._searcher.search(query, k=k, alpha=alpha, beta=beta) for query in prepared]

    def found(self, answers: Any, prepared: Any) -> list[Found]:  # noqa: ARG002
        """Read names and rounded scores."""
        return [
            Found(np.array([int(name) for name in names], np.int64), np.array(scores, np.float64))
            for names, scores in answers
        ]
