"""int8: every value of every vector in one byte, looked at one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from indexes.searchers.base import CoveredVectors, Settings
from indexes.searchers.faiss_library import check_values, damaged, load_faiss
from indexes.searchers.faiss_searcher import FaissSearcher


class Int8Settings(Settings, frozen=True, tag="int8"):
    """Settings of `Int8Searcher`; see `Settings`."""

    oversample: int = 2


class Int8Searcher(FaissSearcher[Int8Settings]):
    """A full scan over a quarter of the bytes: for vectors that do not fit into memory in full precision.

    A dimension's smallest and largest value over all vectors span its 256 steps, so that nothing is cut off; queries
    stay float32. Finds with its defaults at least 99 of 100 of the true ten nearest.
    """

    file_kind = b"IxSQ"

    @classmethod
    def _trained(cls, settings: Int8Settings, vectors: CoveredVectors) -> Any:  # noqa: ARG003 - the protocol of all
        faiss = load_faiss()
        quantiser = faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexScalarQuantizer(vectors.dimension, quantiser, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors.ranges())
        return index

    @classmethod
    def _code_bytes(cls, settings: Int8Settings, dimension: int) -> int:  # noqa: ARG003
        return dimension

    @classmethod
    def _check(cls, index: Any, code_bytes: int, path: Path) -> None:
        check_scalar_codes(index, index.ntotal, code_bytes, path)

    def _parameters(self, n: int, n_selected: int, selector: Any) -> Any:  # noqa: ARG002
        return load_faiss().SearchParameters(sel=selector)


def check_scalar_codes(index: Any, n_passages: int, dimension: int, path: Path) -> None:
    """Raise CorruptIndexError unless a scalar quantiser's codes and ranges have their sizes."""
    faiss = load_faiss()
    if not isinstance(index, faiss.IndexScalarQuantizer) or index.sq.qtype != faiss.ScalarQuantizer.QT_8bit:
        raise damaged(path, "no 8-bit codes")
    sizes = (index.d, index.code_size, index.codes.size(), index.sq.trained.size())
    if sizes != (dimension, dimension, n_passages * dimension, 2 * dimension):
        raise damaged(path, f"codes have sizes {sizes}")
    check_values(index.sq.trained, path)
