"""Sparse vectors: many rows of (dimension, weight) pairs in flat arrays, as learned sparse encoders produce them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from indexes.bm25_formula import LARGEST_PARAMETER
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
            VectorError: an array has another type or shape, offsets or dimensions do not ascend, a dimension is out of
                range, or a weight is negative or not finite.
        """
        offsets, dimensions, weights = self.offsets, self.dimensions, self.weights
        for name, values in (("offsets", offsets), ("dimensions", dimensions)):
            if values.ndim != 1 or values.dtype.kind not in "iu":
                raise VectorError(f"{name} must be a flat array of integers, not {values.dtype} {values.shape}")
        if not len(offsets) or offsets[0] != 0 or offsets[-1] != len(dimensions):
            ends = f"from {offsets[0]} to {offsets[-1]}" if len(offsets) else "be missing"
            raise VectorError(f"the offsets must run from 0 to the number of entries, {len(dimensions):,}, not {ends}")
        falling = np.flatnonzero(offsets[1:] < offsets[:-1])
        if len(falling):
            row = int(falling[0])
            raise VectorError(
                f"the offsets must ascend, those of vector {row} are {offsets[row]} and {offsets[row + 1]}"
            )
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
            found = f"{dimensions[wrong[0] - 1]} is followed by {dimensions[wrong[0]]}"
            raise VectorError(f"the dimensions of vector {row} must ascend, without repetitions, and {found}")
        if weights is not None:
            if weights.shape != dimensions.shape or weights.dtype.kind not in "fiu":
                raise VectorError(f"{weights.dtype} weights {weights.shape} for {len(dimensions):,} entries")
            bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
            if len(bad):
                raise VectorError(f"weights must be finite and not negative, entry {bad[0]} is {weights[bad[0]]}")
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
        ValueError: `largest` is not a positive number up to 1e100.
    """
    if not 0 < largest <= LARGEST_PARAMETER:
        raise ValueError(f"the largest weight must be positive and at most {LARGEST_PARAMETER}, not {largest!r}")
    vectors.checked()
    offsets, dimensions, weights = vectors.offsets, vectors.dimensions, vectors.weights
    if weights is None:
        raise VectorError("binary vectors have no weights to quantise; index them as they are")
    kept = weights > 0
    cut = np.minimum(weights[kept].astype(np.float64), largest)  # first: what follows must not overflow
    impacts = np.maximum(np.rint(LARGEST_IMPACT * cut / largest), 1)
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(kept)])
    return SparseVectors(before[offsets], dimensions[kept], impacts.astype(np.uint8))
