"""What the searchers on FAISS share: building from blocks, rebuilding from arrays, candidates out of padded answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from indexes.searchers.base import CoveredVectors, Settings, selected
from indexes.searchers.faiss_library import faiss_threads, selector_of

Kind = TypeVar("Kind", bound=Settings)


class FaissSearcher(ABC, Generic[Kind]):
    """A searcher whose codes lie in a FAISS index; the metric is the inner product in all of them.

    On disk it is plain arrays (see `indexes.searchers.stored_arrays`). Opened, FAISS holds one copy of them.

    Attributes:
        settings: with which it was built.
        n_passages: how many passages it covers.
        dimension: of their vectors.
    """

    def __init__(self, settings: Kind, index: Any, n_passages: int, dimension: int) -> None:
        self.settings = settings
        self.n_passages = n_passages
        self.dimension = dimension
        self._index = index

    @classmethod
    def build(cls, settings: Kind, vectors: CoveredVectors, directory: Path) -> None:
        """Write a searcher over all `vectors` into an existing directory."""
        with faiss_threads(settings.build_threads):
            index = cls._trained(settings, vectors)
            for block in vectors.blocks():
                index.add(block)
        cls._save(index, directory)

    @classmethod
    def open(cls, settings: Kind, directory: Path, n_passages: int, dimension: int) -> FaissSearcher[Kind]:
        """Read what `build` wrote.

        Raises:
            CorruptIndexError: a file is missing, has another size or content than it must have; names it.
        """
        return cls(settings, cls._rebuilt(settings, directory, n_passages, dimension), n_passages, dimension)

    def candidates(self, queries: np.ndarray, n: int, allowed: np.ndarray | None) -> list[np.ndarray]:
        """Return the passages that probably have the largest inner products; see `Searcher.candidates`."""
        n_selected = selected(allowed, self.n_passages)
        n = min(n, n_selected)
        if n <= 0 or not len(queries):
            return [np.empty(0, np.int64) for _ in queries]
        parameters = self._parameters(n, n_selected, selector_of(allowed))
        return unpadded(self._index.search(np.ascontiguousarray(queries), n, params=parameters)[1])

    @classmethod
    @abstractmethod
    def _trained(cls, settings: Kind, vectors: CoveredVectors) -> Any:
        """Return an index without entries that is ready for them."""

    @classmethod
    @abstractmethod
    def _save(cls, index: Any, directory: Path) -> None:
        """Write the arrays of a finished index."""

    @classmethod
    @abstractmethod
    def _rebuilt(cls, settings: Kind, directory: Path, n_passages: int, dimension: int) -> Any:
        """Return an index that searches as the saved one did.

        Raises CorruptIndexError where a number in the arrays would lead a search outside of them.
        """

    @abstractmethod
    def _parameters(self, n: int, n_selected: int, selector: Any) -> Any:
        """Return FAISS's parameters of a search for n of the n_selected passages in `selector`."""


def unpadded(found: np.ndarray) -> list[np.ndarray]:
    """Return FAISS's positions (n_queries, n) as ascending lists, without the -1 that stand for none."""
    found.sort(axis=1)
    first = (found < 0).sum(axis=1)
    return [line[start:] for line, start in zip(found, first, strict=True)]
