"""What a model is worth on a test set, query by query or pair by pair, by exact search and with any encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eval.measures import evaluate_run
from eval.testsets import read_testset
from retrieval.training.ranking import Ranking

if TYPE_CHECKING:
    from retrieval.encoders.base import Encoder

DEPTH = 100


@dataclass(frozen=True)
class Pool:
    """A test set in memory.

    Attributes:
        name: folder and split.
        ids: of the documents.
        texts: title and text of each.
        queries: text by id, of judged queries.
        qrels: grade by document id by query id.
    """

    name: str
    ids: list[str]
    texts: list[str]
    queries: dict[str, str]
    qrels: Mapping[str, Mapping[str, int]]


def read_pool(folder: Path, split: str | None = None, limit: int | None = None) -> Pool:
    """Read a test set with its documents; of the judged queries at most the first `limit`.

    Raises:
        EvaluationError: the folder is no test set with documents.
    """
    testset = read_testset(folder, split)
    documents = list(testset.corpus or ())
    queries = dict(list(testset.queries.items())[:limit])
    return Pool(
        name=f"{testset.name} {testset.split}",
        ids=[document.id for document in documents],
        texts=[f"{document.title or ''} {document.text or ''}".strip() for document in documents],
        queries=queries,
        qrels={query_id: testset.qrels[query_id] for query_id in queries},
    )


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
