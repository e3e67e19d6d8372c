"""Rankings of a pool of passages for training queries, by this engine's own searches, for mining and filtering."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from indexes.sparse_vectors import SparseVectors
    from retrieval.collection.collection import Collection
    from retrieval.encoders.base import Encoder


Mode = Literal["hybrid", "bm25", "dense"]


class Ranking(NamedTuple):
    """The best passages for one query, best first.

    Attributes:
        rows: (k,) int64, positions in the pool.
        scores: (k,) float64.
    """

    rows: np.ndarray
    scores: np.ndarray


def rank_by_vectors(queries: np.ndarray, passages: np.ndarray, k: int) -> list[Ranking]:
    """Rank a pool by inner product, exactly.

    Args:
        queries: (n_queries, d) float32; of length one where the similarity is cosine, as are the passages.
        passages: (n_passages, d) float32.
        k: passages for each query at most.

    Returns:
        One ranking for each query; ties go by position in the pool.
    """
    from indexes.dense import DenseSegment, search_exact
    from indexes.vectors import VectorStore, norms

    rows = np.arange(len(passages), dtype=np.int32)
    store = VectorStore(passages, rows, float(norms(passages).max(initial=0.0)))
    segment = DenseSegment(store, None, rows.astype(np.int64))
    return [Ranking(hits.rows, hits.scores) for hits in search_exact([segment], queries, k)]


def rank_by_encoder(
    encoder: Encoder, queries: Sequence[str], passages: Sequence[str], k: int
) -> tuple[list[Ranking], np.ndarray, np.ndarray]:
    """Rank a pool by an encoder; texts beyond its limit are cut.

    Returns:
        The rankings, and the vectors of queries (n_queries, d) and passages (n_passages, d) that they come from.
    """
    query_vectors, passage_vectors = encoder.encode_queries(queries), encoder.encode_passages(passages)
    if encoder.similarity == "cosine":
        from indexes.vectors import normalise

        query_vectors, passage_vectors = normalise(query_vectors), normalise(passage_vectors)
    return rank_by_vectors(query_vectors, passage_vectors, k), query_vectors, passage_vectors


def rank_by_sparse_vectors(
    queries: SparseVectors, passages: SparseVectors, k: int, largest_weight: float
) -> list[Ranking]:
    """Rank a pool through the inverted index: by impacts of 8 bits, or by shared dimensions without weights.

    Args:
        queries: with weights or, as the passages, without.
        passages: the pool.
        k: passages for each query at most.
        largest_weight: the weight that becomes the largest impact.
    """
    from indexes.sparse import SparseIndex, SparseIndexWriter, SparseSearcher, SparseSegment, quantised

    with tempfile.TemporaryDirectory() as folder:
        with SparseIndexWriter(Path(folder), "binary" if passages.weights is None else "impacts") as writer:
            writer.add_many(passages if passages.weights is None else quantised(passages, largest_weight))
        segment = SparseSegment(SparseIndex.open(Path(folder)), None, np.arange(len(passages)))
        return [Ranking(hits.rows, hits.scores) for hits in SparseSearcher([segment]).search_many(queries, k)]


def rank_by_collection(
    collection: Collection, queries: Sequence[str], ids: Sequence[str], k: int, mode: Mode | None = None
) -> list[Ranking]:
    """Rank a pool by a collection that holds it: BM25, dense or both.

    Args:
        collection: holds the passages as documents.
        queries: texts.
        ids: id of each passage of the pool, in its order; other documents are left out of the rankings.
        k: documents to retrieve for each query.
        mode: as in `Collection.search`.
    """
    row_of = {passage_id: row for row, passage_id in enumerate(ids)}
    rankings = []
    for hits in collection.search_many(list(queries), k=k, mode=mode):
        known = [(row_of[hit.id], hit.score) for hit in hits if hit.id in row_of]
        rankings.append(
            Ranking(np.array([row for row, _ in known], np.int64), np.array([score for _, score in known], np.float64))
        )
    return rankings
