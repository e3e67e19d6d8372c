"""What the searchers on FAISS share: building from blocks, opening with checks, candidates out of padded answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from indexes.searchers.base import CoveredVectors, Settings, selected
from indexes.searchers.faiss_library import INDEX_FILE, faiss_threads, read_index, selector_of, write_index

Kind = TypeVar("Kind", bound=Settings)


class FaissSearcher(ABC, Generic[Kind]):
    """A searcher whose codes lie in a FAISS index; the metric is the inner product in all of them.

    Attributes:
        settings: with which it was built.
        n_passages: how many passages it covers.
        dimension: of their vectors.
    """

    file_kind: ClassVar[bytes]

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
        write_index(index, directory)

    @classmethod
    def open(cls, settings: Kind, directory: Path, n_passages: int, dimension: int) -> FaissSearcher[Kind]:
        """Read what `build` wrote.

        Raises:
            CorruptIndexError: the file is missing, has another size or content than it must have; names it.
        """
        code_bytes = cls._code_bytes(settings, dimension)
        index = read_index(directory, cls.file_kind, n_passages, dimension, code_bytes)
        cls._check(index, code_bytes, directory / INDEX_FILE)
        return cls(settings, index, n_passages, dimension)

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
    def _code_bytes(cls, settings: Kind, dimension: int) -> int:
        """Return the size of one entry's code."""

    @classmethod
    @abstractmethod
    def _check(cls, index: Any, code_bytes: int, path: Path) -> None:
        """Raise CorruptIndexError where a number in the index would lead a search outside its arrays."""

    @abstractmethod
    def _parameters(self, n: int, n_selected: int, selector: Any) -> Any:
        """Return FAISS's parameters of a search for n of the n_selected passages in `selector`."""


def unpadded(found: np.ndarray) -> list[np.ndarray]:
    """Return FAISS's positions (n_queries, n) as ascending lists, without the -1 that stand for none."""
    found.sort(axis=1)
    first = (found < 0).sum(axis=1)
    return [line[start:] for line, start in zip(found, first, strict=True)]
