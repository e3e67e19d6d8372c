"""Training triples whose negatives a reranker itself puts near the top: what the stage behind it has to sort."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eval.pools import read_pool
from indexes.storage import replace_file
from retrieval.training.negatives import mine_negatives
from retrieval.training.ranking import Ranking

if TYPE_CHECKING:
    from retrieval.rerankers import Reranker


def mined_triples(
    folder: Path,
    reranker: Reranker,
    file: Path,
    *,
    n_queries: int,
    depth: int,
    window: tuple[int, int],
    negatives: int,
    seed: int,
) -> Path:
    """Write a triple for each drawn negative of training queries, and return the file; one that is there is kept.

    Args:
        folder: a set in MS MARCO's layout with training queries.
        reranker: reorders BM25's best passages.
        file: JSON lines of query, positive and negative.
        n_queries: training queries drawn at random.
        depth: passages of each that BM25 finds and the reranker reorders.
        window: ranks after reranking from which negatives are drawn: first, and the one behind the last.
        negatives: of a query, for each of its positives.
        seed: of all draws.
    """
    from retrieval import Collection, Document

    if file.is_file():
        return file
    pool = read_pool(folder, "train")
    names = list(pool.queries)
    chosen = [names[row] for row in sorted(np.random.default_rng(seed).permutation(len(names))[:n_queries].tolist())]
    queries = [pool.queries[name] for name in chosen]
    row_of = {name: row for row, name in enumerate(pool.ids)}
    with tempfile.TemporaryDirectory() as place, Collection.create(Path(place) / "bm25", encoder=None) as collection:
        collection.add(Document(name, text) for name, text in zip(pool.ids, pool.texts, strict=True))
        stages = f"bm25:{depth},reranker:{depth}"
        found = collection.search_many(queries, k=depth, stages=stages, rerankers={"reranker": reranker})
    rankings = [
        Ranking(np.array([row_of[hit.id] for hit in hits], np.int64), np.array([hit.score for hit in hits]))
        for hits in found
    ]
    positives = [[row_of[name] for name, grade in pool.qrels[query].items() if grade > 0] for query in chosen]
    mined = mine_negatives(rankings, queries, positives, pool.texts, n=negatives, window=window, seed=seed)
    triples = [
        {"query": query, "positive": pool.texts[positive], "negative": pool.texts[negative]}
        for query, own, rows in zip(queries, positives, mined, strict=True)
        for positive in own
        for negative in rows.tolist()
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    replace_file(file, "".join(f"{json.dumps(triple, ensure_ascii=False)}\n" for triple in triples).encode())
    return file
