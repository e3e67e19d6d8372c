"""What every searcher is: codes, graphs and centroids over the passages of some segments, and never the vectors.

A searcher is derived from stored vectors and disposable. It covers a fixed list of stores, numbers their passages
through in that order, and names candidates; `indexes.searchers.rescoring` gives those the exact scores of the stored
vectors, so that a searcher decides what is found and never what it scores.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Protocol

import msgspec
import numpy as np

from indexes.errors import VectorError
from indexes.vectors import VectorStore

LARGEST_SETTING = 2**31 - 1
"""FAISS keeps its settings in 32 bits."""

_ROWS_PER_BLOCK = 1 << 14


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the settings of all searchers have in common; they are constructor input and saved state.

    Attributes:
        limits: the least and the most of each setting, where that is not 1 and LARGEST_SETTING.
        oversample: candidates for each document asked for; more find more and cost time.
        build_threads: threads that build. With one, the default, equal vectors give equal files; with more, building is
            faster and what is found may differ from build to build, within the recall that the searcher states.

    Raises:
        VectorError: a setting is not a whole number, or is too small or too large.
    """

    limits: ClassVar[dict[str, tuple[int, int]]] = {"build_threads": (1, 1024)}

    oversample: int = 1
    build_threads: int = 1

    def __post_init__(self) -> None:
        for name, field in zip(self.__struct_fields__, msgspec.structs.fields(self), strict=True):
            value = getattr(self, name)
            if value is None and field.default is None:
                continue
            if type(value) is not int:
                raise VectorError(f"{name} must be a whole number, got {value!r}")
            least, most = self.limits.get(name, (1, LARGEST_SETTING))
            if value < least:
                raise VectorError(f"{name} must be at least {least}, got {value}")
            if value > most:
                raise VectorError(f"{name} must be at most {most:,}, got {value:,}")


class Searcher(Protocol):
    """Names candidates for queries; see `indexes.searchers` for the kinds there are.

    Attributes:
        settings: with which it was built.
        n_passages: how many passages it covers.
        dimension: of their vectors.
    """

    settings: Settings
    n_passages: int
    dimension: int

    def candidates(self, queries: np.ndarray, n: int, allowed: np.ndarray | None) -> list[np.ndarray]:
        """Return the passages that probably have the largest inner products with each query.

        Args:
            queries: (n_queries, dimension) float32.
            n: how many at most, for each.
            allowed: (n_passages,) bool, passages that may be named; None = all.

        Returns:
            For each query (m,) int64 positions, m <= n, ascending, each once.
        """
        ...


class CoveredVectors:
    """The vectors of several stores as one sequence, read in blocks.

    Attributes:
        n_passages: of all stores.
        dimension: of their vectors.

    Raises:
        VectorError: no store, or stores of different dimensions.
    """

    def __init__(self, stores: Sequence[VectorStore]) -> None:
        dimensions = {store.dimension for store in stores}
        if len(dimensions) != 1:
            raise VectorError(f"a searcher needs stores of one dimension, got {sorted(dimensions)}")
        self._stores = stores
        self.n_passages = sum(store.n_passages for store in stores)
        self.dimension = dimensions.pop()

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the vectors in order, (m, d) float32 at a time."""
        for store in self._stores:
            for start in range(0, store.n_passages, _ROWS_PER_BLOCK):
                yield store.vectors[start : start + _ROWS_PER_BLOCK]

    def sample(self, size: int, seed: int) -> np.ndarray:
        """Return up to `size` vectors, drawn without replacement, in order, (m, d) float32."""
        positions = np.arange(self.n_passages)
        if size < self.n_passages:
            positions = np.sort(np.random.default_rng(seed).choice(self.n_passages, size, replace=False, shuffle=False))
        parts, first = [np.empty((0, self.dimension), np.float32)], 0
        for store in self._stores:
            start, stop = np.searchsorted(positions, [first, first + store.n_passages])
            parts.append(store.gather(positions[start:stop] - first))
            first += store.n_passages
        return np.concatenate(parts)

    def ranges(self) -> np.ndarray:
        """Return the smallest and the largest value of each dimension, (2, d) float32; zeros without vectors."""
        extremes = [(block.min(axis=0), block.max(axis=0)) for block in self.blocks()]
        if not extremes:
            return np.zeros((2, self.dimension), np.float32)
        lowest, highest = zip(*extremes, strict=True)
        return np.stack([np.min(lowest, axis=0), np.max(highest, axis=0)])

    def mean(self) -> np.ndarray:
        """Return the mean vector, (d,) float32; zeros without vectors."""
        total = np.zeros(self.dimension)
        for block in self.blocks():
            total += block.sum(axis=0, dtype=np.float64)
        return (total / max(1, self.n_passages)).astype(np.float32)


def selected(allowed: np.ndarray | None, n_passages: int) -> int:
    """Return how many passages a selection leaves."""
    return n_passages if allowed is None else int(np.count_nonzero(allowed))
