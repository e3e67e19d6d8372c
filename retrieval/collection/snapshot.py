"""A committed state of a collection, opened: what every search works on, unchanged while it runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from indexes.errors import CorruptIndexError
from indexes.plain_files import check_directory
from retrieval.collection.document_store import id_hash
from retrieval.collection.manifest import PARTS, Manifest
from retrieval.collection.manifest_file import read_manifest
from retrieval.collection.segment import Segment, check_part

if TYPE_CHECKING:
    from indexes.bm25 import BM25Searcher, BM25Settings
    from indexes.dense import DenseSegment
    from indexes.searchers import Searcher
    from retrieval.collection.manifest import SearcherEntry
    from retrieval.collection.sparse_search import SparseRetriever
    from retrieval.filters import Filter

logger = logging.getLogger(__name__)

_KEPT_SEARCHERS = 4
_ROWS = 1 << 14
_FEW = 16
"""Ids from several segments that are read faster one by one."""


class Snapshot:
    """The segments of one generation. Immutable; safe to use from several threads.

    Attributes:
        directory: the collection.
        manifest: the committed state.
        segments: opened, in the manifest's order.
    """

    def __init__(self, directory: Path, manifest: Manifest, reuse: Snapshot | None = None) -> None:
        known: dict[str, Segment] = {segment.name: segment for segment in reuse.segments} if reuse else {}
        if manifest.segments:
            check_directory(directory / PARTS)
        self.directory = directory
        self.manifest = manifest
        self.segments: list[Segment] = [
            known[entry.documents.name].with_entry(directory, entry)
            if entry.documents.name in known
            else Segment(directory, entry)
            for entry in manifest.segments
        ]
        self._check_dimensions()
        if reuse is not None and "searcher" in reuse.__dict__ and reuse.manifest.searcher == manifest.searcher:
            self.__dict__["searcher"] = reuse.__dict__["searcher"]  # covers the same vectors still
        self._bm25: dict[tuple[BM25Settings | None, int], BM25Searcher] = {}
        self._lock = threading.Lock()

    def _check_dimensions(self) -> None:
        encoder = self.manifest.encoder
        for segment in self.segments:
            if segment.passages is None or encoder is None:
                continue
            found = segment.passages.vectors.dimension
            if found != encoder.dimension:
                raise CorruptIndexError(
                    f"file damaged: vectors of segment {segment.name} in {self.directory} have {found} dimensions, the "
                    f"encoder's have {encoder.dimension}; restore the index or index again"
                )
        if self.manifest.sparse is not None:
            from retrieval.collection.sparse_store import check_stores

            check_stores(self.manifest.sparse, [segment.sparse for segment in self.segments if segment.sparse])
        for name, recorded in self.manifest.tokens.items():
            from retrieval.collection import token_store

            token_store.check_stores(name, recorded, [segment.tokens[name] for segment in self.segments])

    @cached_property
    def n_documents(self) -> int:
        """Documents that are not deleted."""
        return sum(segment.n_alive for segment in self.segments)

    @cached_property
    def has_vectors(self) -> bool:
        """Whether the collection has vectors (an empty one that was created with an encoder has)."""
        return self.manifest.encoder is not None

    def bm25(self, settings: BM25Settings | None, unit: int) -> BM25Searcher:
        """Return the BM25 searcher over all segments, without settings that which adds up impacts; built once each."""
        searcher = self._bm25.get((settings, unit))
        if searcher is not None:  # the usual case, which waits for nobody
            return searcher
        from indexes.bm25 import BM25Searcher, LexicalSegment

        with self._lock:
            searcher = self._bm25.get((settings, unit))
            if searcher is None:
                segments = [
                    LexicalSegment(segment.lexical, segment.alive, segment.documents.sequences)
                    for segment in self.segments
                ]
                if settings is None:
                    from indexes.impact_sum import ImpactSearcher

                    searcher = ImpactSearcher(segments, unit)
                else:
                    searcher = BM25Searcher(segments, settings, unit)
                while len(self._bm25) >= _KEPT_SEARCHERS:
                    self._bm25.pop(next(iter(self._bm25)))
                self._bm25[settings, unit] = searcher
            return searcher

    @cached_property
    def dense(self) -> list[DenseSegment]:
        """The vectors of all segments, for `indexes.dense`."""
        from indexes.dense import DenseSegment

        return [
            DenseSegment(segment.passages.vectors, segment.alive, segment.documents.sequences)
            for segment in self.segments
            if segment.passages is not None
        ]

    @cached_property
    def has_sparse(self) -> bool:
        """Whether the collection has sparse vectors (an empty one that was created with a sparse encoder has)."""
        return self.manifest.sparse is not None

    @cached_property
    def sparse(self) -> SparseRetriever:
        """The sparse vectors of all segments, to be searched."""
        from retrieval.collection.sparse_search import SparseRetriever

        segments = [(segment, segment.sparse) for segment in self.segments if segment.sparse is not None]
        return SparseRetriever(
            [store for _, store in segments],
            [segment.alive for segment, _ in segments],
            [segment.documents.sequences for segment, _ in segments],
        )

    @cached_property
    def searcher(self) -> Searcher | None:
        """The approximate searcher, if there is one.

        It is opened when it is first used. When a writer has removed it meanwhile, there is none: vectors are searched
        exactly.

        Raises:
            CorruptIndexError: its files are damaged.
        """
        entry = self.manifest.searcher
        if entry is None or self.manifest.encoder is None:
            return None
        try:
            return self._open_searcher(entry, self.manifest.encoder.dimension)
        except (CorruptIndexError, FileNotFoundError):
            if read_manifest(self.directory).searcher == entry:
                raise
            logger.info("the searcher %s has been removed since; vectors are searched exactly", entry.part.name)
            return None

    def _open_searcher(self, entry: SearcherEntry, dimension: int) -> Searcher:
        from indexes.searchers import open_searcher
        from indexes.storage import check_contents

        check_part(self.directory, entry.part)
        directory = self.directory / PARTS / entry.part.name
        # Arrays are compared with their block checksums when they are read; the record of settings is not an array.
        records = {name: record for name, record in entry.part.files.items() if not name.endswith(".npy")}
        if problems := check_contents(directory, records):
            raise CorruptIndexError(f"file damaged: {problems[0]}; run optimize() to build the searcher again")
        stores = [self.dense[number].store for number in self.covered]
        return open_searcher(directory, sum(store.n_passages for store in stores), dimension)

    @cached_property
    def covered(self) -> list[int]:
        """Numbers of the segments that the approximate searcher covers, in its order."""
        entry = self.manifest.searcher
        numbers = {segment.name: number for number, segment in enumerate(self.segments)}
        return [numbers[name] for name in entry.covers] if entry else []

    def masks(self, where: Filter | None) -> list[np.ndarray | None]:
        """Return, for each segment, which rows are alive and pass the filter; None where all are."""
        return [segment.matching(where) for segment in self.segments]

    def ids(self, segments: np.ndarray, rows: np.ndarray) -> list[str]:
        """Return the ids of documents in whatever order they are given; faster than one after the other.

        Args:
            segments: (n,) numbers of their segments.
            rows: (n,) int64, their rows in these.

        Raises:
            CorruptIndexError: ids are damaged.
        """
        if not len(rows):
            return []
        if len(self.segments) == 1:
            return self.segments[0].documents.ids(rows)
        if len(rows) <= _FEW:
            places = zip(segments.tolist(), rows.tolist(), strict=True)
            return [self.segments[number].documents.id(row) for number, row in places]
        order = np.argsort(segments, kind="stable")
        ordered = segments[order]
        bounds = [0, *(np.flatnonzero(ordered[1:] != ordered[:-1]) + 1).tolist(), len(order)]
        ids = np.empty(len(order), object)
        for begin, end in pairwise(bounds):
            here = order[begin:end]
            ids[here] = self.segments[ordered[begin]].documents.ids(rows[here])
        return ids.tolist()

    def locate(self, document_id: str) -> tuple[int, int] | None:
        """Return the segment number and row of an id; None where it is not there or deleted."""
        if not isinstance(document_id, str):
            return None
        hashes = np.array([id_hash(document_id)], np.uint64)
        for number, segment in enumerate(self.segments):
            row = segment.documents.find_many([document_id], hashes).get(document_id)
            if row is not None and segment.is_alive(row):
                return number, row
        return None

    def rows(self) -> Iterator[tuple[Segment, int]]:
        """Iterate over all documents that are not deleted, by sequence number."""
        places = [
            np.stack([segment.documents.sequences[rows], np.full(len(rows), number), rows], axis=1)
            for number, segment in enumerate(self.segments)
            if len(rows := segment.alive_rows())
        ]
        if not places:
            return
        every = np.concatenate(places)
        order = np.argsort(every[:, 0])
        for start in range(0, len(order), _ROWS):  # as Python's numbers only some at a time
            for _, number, row in every[order[start : start + _ROWS]].tolist():
                yield self.segments[number], row


def open_snapshot(directory: Path, reuse: Snapshot | None = None) -> Snapshot:
    """Open the committed state of a collection.

    A writer may remove the parts of the generation that was just read before they are open here; then there is a newer
    generation, and that one is opened.

    Args:
        directory: the collection.
        reuse: an older snapshot whose open segments still serve.
    """
    manifest = read_manifest(directory)
    while True:
        if reuse is not None and reuse.manifest == manifest:
            return reuse
        try:
            return Snapshot(directory, manifest, reuse)
        except (CorruptIndexError, FileNotFoundError):
            newer = read_manifest(directory)
            if newer.generation == manifest.generation:
                raise
            manifest = newer


def describe_segments(segments: Sequence[Segment]) -> list[dict[str, object]]:
    """Return a line of facts for each segment, for `info`."""
    return [
        {
            "name": segment.name,
            "documents": segment.n_alive,
            "deleted": segment.entry.n_deleted,
            "passages": segment.entry.dense.n_passages if segment.entry.dense else 0,
            "sparse_passages": segment.entry.sparse.n_passages if segment.entry.sparse else 0,
            "states": {name: part.n_tokens for name, part in segment.entry.tokens.items()},
            "bytes": sum(part.size for part in segment.entry.parts),
            "execution": dict(segment.entry.dense.execution) if segment.entry.dense else {},
        }
        for segment in segments
    ]
