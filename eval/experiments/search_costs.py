"""What searching one pool costs by each kind of vector and by BM25: time of a query and bytes, through collections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from eval.benchmarks.in_turn import latencies
from eval.pools import Pool
from indexes.sparse_vectors import SparseVectors
from retrieval import Collection, Document
from retrieval.encoders import FunctionEncoder, SparseFunctionEncoder


@dataclass(frozen=True)
class Cost:
    """What searching by one side costs.

    Attributes:
        milliseconds: median of the queries' shortest times, without encoding.
        p99: 99th percentile of them.
        bytes_per_document: of the part of the index that only this side reads.
    """

    milliseconds: float
    p99: float
    bytes_per_document: float


def search_costs(
    pool: Pool,
    dense: tuple[np.ndarray, np.ndarray],
    sparse: tuple[SparseVectors, SparseVectors, float],
    folder: Path,
    repeats: int = 5,
) -> dict[str, Cost]:
    """Time the pool's queries one at a time by every side in turn, in one process, top 10.

    Encoding is in nobody's clock: encoders look up vectors that are there already.

    Args:
        pool: passages and queries.
        dense: vectors of queries and passages, (n, d) float32.
        sparse: vectors of queries and passages with weights, and the largest weight.
        folder: where collections are made.
        repeats: rounds; the shortest time of a query counts.
    """
    queries, passages, largest = sparse
    bare_queries, bare_passages = replace(queries, weights=None), replace(passages, weights=None)
    collections = {
        "exact": _collection(folder / "exact", pool, encoder=_dense_encoder(pool, dense)),
        "hnsw": _collection(folder / "hnsw", pool, encoder=_dense_encoder(pool, dense)),
        "weighted": _collection(folder / "weighted", pool, sparse=_sparse_encoder(pool, queries, passages, largest)),
        "binary": _collection(folder / "binary", pool, sparse=_sparse_encoder(pool, bare_queries, bare_passages, None)),
    }
    collections["hnsw"].optimize("hnsw")
    sides: dict[str, tuple[str, Literal["bm25", "dense", "sparse"]]] = {
        "BM25": ("exact", "bm25"),
        "dense, exact": ("exact", "dense"),
        "dense, HNSW": ("hnsw", "dense"),
        "ultra-high-dimensional, impacts": ("weighted", "sparse"),
        "ultra-high-dimensional, binary": ("binary", "sparse"),
    }
    calls = {
        side: [partial(collections[name].search, text, 10, mode=mode) for text in pool.queries.values()]
        for side, (name, mode) in sides.items()
    }
    for single in calls.values():
        single[0]()  # opens files and compiles
    shortest = latencies(calls, repeats)
    sizes = {
        "BM25": _part_bytes(folder / "exact", "lexical"),
        "dense, exact": _part_bytes(folder / "exact", "dense"),
        "dense, HNSW": _part_bytes(folder / "hnsw", "dense") + collections["hnsw"].stats()["searcher"]["bytes"],
        "ultra-high-dimensional, impacts": collections["weighted"].stats()["sparse"]["bytes"],
        "ultra-high-dimensional, binary": collections["binary"].stats()["sparse"]["bytes"],
    }
    for collection in collections.values():
        collection.close()
    costs = {}
    for side, seconds in shortest.items():
        p50, p99 = (1000 * np.percentile(seconds, [50, 99])).tolist()
        costs[side] = Cost(p50, p99, sizes[side] / len(pool.ids))
    return costs


def _collection(
    folder: Path, pool: Pool, encoder: FunctionEncoder | None = None, sparse: SparseFunctionEncoder | None = None
) -> Collection:
    collection = Collection.create(folder, encoder=encoder, sparse=sparse, long="truncate")
    collection.add(Document(id=name, text=text) for name, text in zip(pool.ids, pool.texts, strict=True))
    return collection


def _rows(texts: Sequence[str]) -> Mapping[str, int]:
    return {text: row for row, text in enumerate(texts)}


def _dense_encoder(pool: Pool, dense: tuple[np.ndarray, np.ndarray]) -> FunctionEncoder:
    of_query, of_passage = _rows(list(pool.queries.values())), _rows(pool.texts)
    queries, passages = dense
    return FunctionEncoder(
        lambda texts: passages[[of_passage[text] for text in texts]],
        "stored dense vectors",
        1,
        dimension=passages.shape[1],
        query_function=lambda texts: queries[[of_query[text] for text in texts]],
    )


def _sparse_encoder(
    pool: Pool, queries: SparseVectors, passages: SparseVectors, largest_weight: float | None
) -> SparseFunctionEncoder:
    n_dimensions = 1 + int(max(passages.dimensions.max(), queries.dimensions.max()))

    def lookup(vectors: SparseVectors, rows: Mapping[str, int], texts: Sequence[str]) -> list[dict[int, float]]:
        return [_mapping(vectors.some(rows[text], rows[text] + 1)) for text in texts]

    return SparseFunctionEncoder(
        partial(lookup, passages, _rows(pool.texts)),
        "stored sparse vectors",
        1,
        n_dimensions=n_dimensions,
        weighted=passages.weights is not None,
        largest_weight=largest_weight,
        query_function=partial(lookup, queries, _rows(list(pool.queries.values()))),
    )


def _mapping(vector: SparseVectors) -> dict[int, float]:
    weights = np.ones(len(vector.dimensions)) if vector.weights is None else vector.weights
    return dict(zip(vector.dimensions.tolist(), weights.tolist(), strict=True))


def _part_bytes(folder: Path, kind: str) -> int:
    """Return the bytes of all parts of a kind in a collection's folder."""
    parts = [part for part in (folder / "parts").iterdir() if part.name.endswith(f"-{kind}")]
    return sum(file.stat().st_size for part in parts for file in part.rglob("*") if file.is_file())
