"""Searchers derived from stored vectors: `hnsw`, `ivf_pq`, `int8` and `binary`. Disposable, and rebuilt when outdated.

Build one over the stores of some segments with `build_searcher`, open it with `open_searcher`, and search with
`indexes.searchers.rescoring.search_with`, which scores candidates exactly and searches newer segments as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from indexes.errors import CorruptIndexError, VectorError
from indexes.file_operations import write_file
from indexes.plain_files import read_plain
from indexes.searchers.base import CoveredVectors, Searcher
from indexes.searchers.binary import BinarySearcher, BinarySettings
from indexes.searchers.hnsw import HNSWSearcher, HNSWSettings
from indexes.searchers.int8 import Int8Searcher, Int8Settings
from indexes.searchers.ivf_pq import IVFPQSearcher, IVFPQSettings
from indexes.searchers.stored_arrays import damaged
from indexes.vectors import VectorStore

SearcherSettings = HNSWSettings | IVFPQSettings | Int8Settings | BinarySettings

SEARCHERS: dict[str, type[Any]] = {
    "hnsw": HNSWSearcher,
    "ivf_pq": IVFPQSearcher,
    "int8": Int8Searcher,
    "binary": BinarySearcher,
}
SETTINGS: dict[str, type[SearcherSettings]] = {
    "hnsw": HNSWSettings,
    "ivf_pq": IVFPQSettings,
    "int8": Int8Settings,
    "binary": BinarySettings,
}
_RECORD_FILE = "searcher.json"
_LARGEST_RECORD = 1 << 16


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands beside a searcher's arrays; how many passages and dimensions they must have, the stores say."""

    settings: SearcherSettings
    n_passages: int
    dimension: int


def kind_of(settings: SearcherSettings) -> str:
    """Return the name of a searcher's kind."""
    return str(settings.__struct_config__.tag)


def build_searcher(settings: SearcherSettings, stores: Sequence[VectorStore], directory: Path) -> None:
    """Write a searcher over the passages of `stores`, in that order, into an existing directory.

    Args:
        settings: of the wanted kind.
        stores: what it covers, all of one dimension; there may be no passages in them.
        directory: where its files go; durability is the business of `indexes.storage.replace_file`.

    Raises:
        VectorError: settings or stores that do not fit.
    """
    vectors = CoveredVectors(stores)
    SEARCHERS[kind_of(settings)].build(settings, vectors, directory)
    record = _Record(settings, vectors.n_passages, vectors.dimension)
    write_file(directory / _RECORD_FILE, msgspec.json.encode(record))


def open_searcher(directory: Path, n_passages: int, dimension: int) -> Searcher:
    """Open what `build_searcher` wrote.

    Its arrays are checked and copied into FAISS, which never sees a file: whatever the files hold, searching reaches
    nothing outside of the arrays, and opening takes no more memory than one copy of arrays of the size that so many
    passages have. While it opens, the files are mapped besides.

    Args:
        directory: where it lies.
        n_passages: how many passages the stores have that it covers.
        dimension: of their vectors.

    Raises:
        CorruptIndexError: a file is missing or damaged, or the searcher was built over other stores; names the file.
        StorageError: the system does not let us read a file.
    """
    path = directory / _RECORD_FILE
    record = _read_record(path)
    if (record.n_passages, record.dimension) != (n_passages, dimension):
        raise CorruptIndexError(
            f"{directory} covers {record.n_passages:,} x {record.dimension} passages, the segments have "
            f"{n_passages:,} x {dimension}; build the searcher again"
        )
    kind = SEARCHERS[kind_of(record.settings)]
    try:
        searcher: Searcher = kind.open(record.settings, directory, n_passages, dimension)
    except VectorError as error:  # settings with which it cannot have been built
        raise damaged(path, str(error)) from None
    return searcher


def _read_record(path: Path) -> _Record:
    try:
        return msgspec.json.decode(read_plain(path, _LARGEST_RECORD), type=_Record)
    except (CorruptIndexError, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise damaged(path, str(error)) from None
