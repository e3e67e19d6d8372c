"""int8: every value of every vector in one byte, looked at one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from indexes.array_writer import save_array
from indexes.searchers.base import CoveredVectors, Settings
from indexes.searchers.faiss_library import fill, load_faiss, view
from indexes.searchers.faiss_searcher import FaissSearcher
from indexes.searchers.stored_arrays import load_part, load_values


class Int8Settings(Settings, frozen=True, tag="int8"):
    """Settings of `Int8Searcher`; see `Settings`."""

    oversample: int = 2


class Int8Searcher(FaissSearcher[Int8Settings]):
    """A full scan over a quarter of the bytes: for vectors that do not fit into memory in full precision.

    A dimension's smallest and largest value over all vectors span its 256 steps, so that nothing is cut off; queries
    stay float32. Finds with its defaults at least 99 of 100 of the true ten nearest.
    """

    @classmethod
    def _trained(cls, settings: Int8Settings, vectors: CoveredVectors) -> Any:  # noqa: ARG003 - the protocol of all
        index = _empty(vectors.dimension)
        index.train(vectors.ranges())
        return index

    @classmethod
    def _save(cls, index: Any, directory: Path) -> None:
        save_scalar_codes(index, directory)

    @classmethod
    def _rebuilt(cls, settings: Int8Settings, directory: Path, n_passages: int, dimension: int) -> Any:  # noqa: ARG003
        index = _empty(dimension)
        load_scalar_codes(index, directory, n_passages)
        return index

    def _parameters(self, n: int, n_selected: int, selector: Any) -> Any:  # noqa: ARG002
        return load_faiss().SearchParameters(sel=selector)


def _empty(dimension: int) -> Any:
    faiss = load_faiss()
    return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)


def save_scalar_codes(index: Any, directory: Path) -> None:
    """Write the codes of an 8-bit scalar quantiser, (n, d) uint8, and its ranges, (2, d) float32.

    The ranges are each dimension's smallest value and how far above it its largest lies; every code stands for a value
    between them.
    """
    save_array(directory, "codes", view(index.codes).reshape(-1, index.d))
    save_array(directory, "ranges", view(index.sq.trained).reshape(2, index.d))


def load_scalar_codes(index: Any, directory: Path, n_passages: int) -> None:
    """Give an 8-bit scalar quantiser without entries what `save_scalar_codes` wrote.

    Raises:
        CorruptIndexError: a file is missing, or its codes or ranges have another size or impossible values; names it.
    """
    codes = load_part(directory, "codes", "u1", (n_passages, index.d))
    fill(index.sq.trained, load_values(directory, "ranges", (2, index.d)))
    fill(index.codes, codes)
    index.ntotal, index.is_trained = n_passages, True
