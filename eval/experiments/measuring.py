"""What a model is worth on a test set, query by query or pair by pair, by exact search and with any encoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eval.measures import evaluate_run
from eval.pools import Pool
from retrieval.training.ranking import Ranking

if TYPE_CHECKING:
    from retrieval.encoders.base import Encoder

DEPTH = 100


def values_of(rankings: Sequence[Ranking], pool: Pool, measure: str = "nDCG@10") -> list[float]:
    """Return the measure of each query, in the order of the pool's queries.

    Args:
        rankings: for each query, by positions in the pool's documents.
        pool: the test set.
        measure: a name, see `eval.measures.parse_measures`.
    """
    run = {
        query_id: [(pool.ids[row], score) for row, score in zip(best.rows.tolist(), best.scores.tolist(), strict=True)]
        for query_id, best in zip(pool.queries, rankings, strict=True)
    }
    per_query = evaluate_run(run, pool.qrels, [measure]).per_query
    return [next(iter(per_query[query_id].values())) for query_id in pool.queries]


def dense_rankings(encoder: Encoder, pool: Pool, dimension: int | None = None) -> list[Ranking]:
    """Rank the pool exactly; `dimension` keeps only the first numbers of each vector, as Matryoshka training allows."""
    from indexes.vectors import normalise
    from retrieval.training.ranking import rank_by_vectors

    queries = encoder.encode_queries(list(pool.queries.values()))[:, :dimension]
    passages = encoder.encode_passages(pool.texts)[:, :dimension]
    if encoder.similarity == "cosine":
        queries, passages = normalise(queries), normalise(passages)
    return rank_by_vectors(queries, passages, DEPTH)


def bm25_rankings(pool: Pool) -> list[Ranking]:
    """Rank the pool by BM25 as a new collection does."""
    import tempfile

    from retrieval import Collection, Document

    row_of = {document_id: row for row, document_id in enumerate(pool.ids)}
    with tempfile.TemporaryDirectory() as folder, Collection.create(Path(folder) / "bm25") as collection:
        collection.add(Document(id=name, text=text) for name, text in zip(pool.ids, pool.texts, strict=True))
        found = collection.search_many(list(pool.queries.values()), k=DEPTH, mode="bm25")
    return [
        Ranking(np.array([row_of[hit.id] for hit in hits], np.int64), np.array([hit.score for hit in hits]))
        for hits in found
    ]


def cosines(encoder: Encoder, first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """Return the cosine of each pair of sentences, both encoded as passages, (n_pairs,) float64."""
    from indexes.vectors import normalise

    vectors = [normalise(encoder.encode_passages(texts)) for texts in (list(first), list(second))]
    return np.einsum("nd,nd->n", *(each.astype(np.float64) for each in vectors))
