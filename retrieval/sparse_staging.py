"""Sparse vectors that wait for their commit, so that an interrupted run goes on where it stopped; see `staging`.

A block holds `hashes`, (m, 16) uint8, `offsets`, (m + 1,) int64, `dimensions`, (n,) int32, and, unless the vectors are
binary, `weights`, (n,) uint8: vectors as they will be stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from indexes.errors import VectorError
from indexes.sparse_vectors import SparseVectors
from retrieval.ragged_staging import RaggedStaging
from retrieval.sparse_encoding import gathered

if TYPE_CHECKING:
    from retrieval.encoders.sparse import SparseEncoder


class SparseStaging(RaggedStaging[SparseVectors]):
    """The staged sparse vectors of one encoder; see `RaggedStaging`.

    Args:
        directory: the staging area; it is created by the first block.
        encoder: whose vectors they are.
        largest_weight: the weight that is stored as impact 255; None for binary vectors. Vectors of another scale are
            others.
    """

    def __init__(self, directory: Path, encoder: SparseEncoder, largest_weight: float | None) -> None:
        key: dict[str, Any] = {
            "identity": encoder.identity(),
            "precision": encoder.execution().get("precision"),
            "largest_weight": largest_weight,
        }
        kinds: dict[str, tuple[str, type]] = {"offsets": ("I64", np.int64), "dimensions": ("I32", np.int32)}
        if largest_weight is not None:
            kinds["weights"] = ("U8", np.uint8)
        self._n_dimensions = encoder.n_dimensions
        super().__init__(directory, key, kinds, "sparse vectors")

    def vectors_of(self, block: Mapping[str, np.ndarray]) -> SparseVectors:
        """Return the vectors of a block's arrays."""
        return SparseVectors(block["offsets"], block["dimensions"], block.get("weights"))

    def arrays_of(self, vectors: SparseVectors) -> dict[str, np.ndarray]:
        """Return offsets, dimensions, and weights where there are any."""
        arrays = {"offsets": vectors.offsets, "dimensions": vectors.dimensions}
        return arrays if vectors.weights is None else {**arrays, "weights": vectors.weights}

    def fits(self, vectors: SparseVectors) -> bool:
        """Tell whether the vectors are in order, of the encoder's dimensions, and their weights positive."""
        try:
            vectors.checked()
        except VectorError:
            return False
        positive = vectors.weights is None or bool((vectors.weights > 0).all())
        return positive and int(vectors.dimensions.max(initial=-1)) < self._n_dimensions

    def gathered(self, blocks: Sequence[SparseVectors], numbers: np.ndarray) -> SparseVectors:
        """Return chosen vectors of several blocks."""
        return gathered(blocks, numbers)
