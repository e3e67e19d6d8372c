"""Sparse vectors: many rows of (dimension, weight) pairs in flat arrays, as learned sparse encoders produce them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from indexes.errors import VectorError

MOST_DIMENSIONS = 1 << 22
"""Dimensions are numbers below this; an index holds 16 bytes for each, whether it occurs or not."""

LARGEST_IMPACT = 255
"""Impacts are integers from 1 to this."""


@dataclass(frozen=True)
class SparseVectors:
    """Rows of a sparse matrix, compressed: vector i has the entries offsets[i]:offsets[i + 1].

    Attributes:
        offsets: (n + 1,) int64.
        dimensions: (n_entries,) int32, ascending within a vector, without repetitions.
        weights: (n_entries,) float32, float64 or uint8; None where all are 1: binary vectors.
    """

    offsets: np.ndarray
    dimensions: np.ndarray
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self.offsets) - 1

    def checked(self) -> SparseVectors:
        """Return the same, or raise.

        Raises:
            VectorError: offsets or dimensions do not ascend, a dimension is out of range, or a weight is negative or
                not finite.
        """
        offsets, dimensions, weights = self.offsets, self.dimensions, self.weights
        if offsets.ndim != 1 or not len(offsets) or offsets[0] != 0 or offsets[-1] != len(dimensions):
            raise VectorError(f"the offsets must run from 0 to the number of entries, {len(dimensions):,}")
        if (offsets[1:] < offsets[:-1]).any():
            raise VectorError("the offsets must ascend")
        if len(dimensions) and not (dimensions.min() >= 0 and dimensions.max() < MOST_DIMENSIONS):
            raise VectorError(
                f"dimensions must be numbers from 0 to {MOST_DIMENSIONS - 1:,}, not {dimensions.min()} to "
                f"{dimensions.max()}"
            )
        begins_vector = np.zeros(len(dimensions) + 1, bool)
        begins_vector[offsets] = True
        wrong = np.flatnonzero(~((np.diff(dimensions, prepend=-1) > 0) | begins_vector[:-1]))
        if len(wrong):
            row = int(np.searchsorted(offsets, wrong[0], side="right")) - 1
            raise VectorError(f"the dimensions of vector {row} must ascend, without repetitions")
        if weights is not None:
            if weights.shape != dimensions.shape:
                raise VectorError(f"{len(weights):,} weights for {len(dimensions):,} entries")
            bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
            if len(bad):
                raise VectorError(f"weights must be finite and not negative, entry {bad[0]} is {weights[bad[0]]!r}")
        return self

    def some(self, first: int, last: int) -> SparseVectors:
        """Return the vectors first, first + 1, ... last - 1."""
        begin, end = int(self.offsets[first]), int(self.offsets[last])
        weights = None if self.weights is None else self.weights[begin:end]
        return SparseVectors(self.offsets[first : last + 1] - begin, self.dimensions[begin:end], weights)


def quantised(vectors: SparseVectors, largest: float) -> SparseVectors:
    """Turn weights into impacts of 8 bits: round(255 * weight / largest), at least 1, at most 255; zeros are dropped.

    The scale is a fixed setting of an index, never fitted to its content, so that documents that are added later are
    treated alike (Lassance et al., "An efficiency study for SPLADE models", SIGIR 2022, uses 8 bits as well).

    Args:
        vectors: with weights.
        largest: weight that becomes 255; larger ones are cut to it.

    Raises:
        VectorError: the vectors are not in order, or have no weights.
        ValueError: `largest` is not positive and finite.
    """
    if not 0 < largest < np.inf:
        raise ValueError(f"the largest weight must be positive and finite, not {largest!r}")
    vectors.checked()
    offsets, dimensions, weights = vectors.offsets, vectors.dimensions, vectors.weights
    if weights is None:
        raise VectorError("binary vectors have no weights to quantise; index them as they are")
    kept = weights > 0
    impacts = np.clip(np.rint(weights[kept].astype(np.float64) * (LARGEST_IMPACT / largest)), 1, LARGEST_IMPACT)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    return SparseVectors(before[offsets], dimensions[kept], impacts.astype(np.uint8))
