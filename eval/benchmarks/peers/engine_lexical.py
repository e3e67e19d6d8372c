"""This engine's side of the BM25 benchmark: a collection on disk, through its public search."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from eval.benchmarks.peers.lexical import Texts
from retrieval import Collection
from retrieval.documents import Document

SEGMENTS = 7
"""Segments of `build_segments`: one fewer than would be merged on the way."""


class EngineCollection:
    """A lexical collection, opened; see `LexicalSide`."""

    name = "ours"

    def __init__(self, directory: Path, texts: Texts, threads: int) -> None:
        self._collection = Collection.open(directory)
        if len(self._collection) != len(texts.ids):
            raise ValueError(f"{directory} holds {len(self._collection):,} documents, not {len(texts.ids):,}")
        accepts = inspect.signature(Collection.search_many).parameters
        # Without the parameter the collection takes the processors that the process is confined to, which is the same.
        self._options: dict[str, Any] = {"threads": threads} if "threads" in accepts else {}

    @classmethod
    def build(cls, directory: Path, texts: Texts) -> None:
        """Index the texts and merge all segments into one."""
        collection = Collection.create(directory, encoder=None)
        collection.upsert(_documents(texts))
        collection.compact()

    @classmethod
    def build_segments(cls, directory: Path, texts: Texts, deleted: Iterable[str]) -> None:
        """Index the texts in several commits, then delete some: several segments with tombstones."""
        collection = Collection.create(directory, encoder=None)
        bounds = np.linspace(0, len(texts.ids), SEGMENTS + 1).astype(np.int64).tolist()
        for first, last in pairwise(bounds):
            collection.upsert(_documents(Texts(texts.ids[first:last], texts.texts[first:last])))
        collection.delete(deleted)

    @property
    def n_segments(self) -> int:
        """Segments of the opened collection."""
        return len(self._collection.snapshot.segments)

    def search(self, queries: Sequence[str], k: int) -> list[list[str]]:
        """Return the ids of the best k documents for each query."""
        return [found.ids for found in self._collection.search_many(queries, k=k, mode="bm25", **self._options)]

    def search_one(self, query: str, k: int) -> list[str]:
        """Return the ids of the best k documents."""
        return self._collection.search(query, k=k, mode="bm25").ids

    def scores(self, queries: Sequence[str], k: int) -> list[np.ndarray]:
        """Return the best scores of each query."""
        found = self._collection.search_many(queries, k=k, mode="bm25")
        return [np.array([hit.score for hit in hits], np.float64) for hits in found]


def _documents(texts: Texts) -> Iterable[Document]:
    return (Document(name, text) for name, text in zip(texts.ids, texts.texts, strict=True))
