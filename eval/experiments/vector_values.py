"""What given vectors are worth on a pool, query by query: dense ones by cosine, sparse ones in three forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eval.experiments.measuring import DEPTH, values_of
from eval.pools import Pool
from indexes.sparse_vectors import SparseVectors
from retrieval.training.ranking import rank_by_sparse_vectors, rank_by_vectors


def dense_values(queries: np.ndarray, passages: np.ndarray, pool: Pool, measure: str) -> list[float]:
    """Return the measure of each query by the cosines of vectors, (n_queries, d) and (n_passages, d)."""
    from indexes.vectors import normalise

    return values_of(rank_by_vectors(normalise(queries), normalise(passages), DEPTH), pool, measure)


def sparse_values(
    queries: SparseVectors, passages: SparseVectors, largest: float, pool: Pool, measure: str
) -> dict[str, list[float]]:
    """Return the measure of each query by impacts of 8 bits, by shared dimensions, and by these with idf.

    Args:
        queries: with weights.
        passages: likewise.
        largest: weight that is stored as the largest impact.
        pool: whose queries and passages these are.
        measure: a name, see `eval.measures.parse_measures`.
    """
    bare_queries, bare_passages = replace(queries, weights=None), replace(passages, weights=None)
    frequency = np.bincount(passages.dimensions, minlength=1 + int(queries.dimensions.max()))
    rarity = np.log(1 + (len(passages) - frequency + 0.5) / (frequency + 0.5))  # as BM25's
    rankings = {
        "impacts": rank_by_sparse_vectors(queries, passages, DEPTH, largest),
        "binary": rank_by_sparse_vectors(bare_queries, bare_passages, DEPTH, 1.0),
        "binary with idf": rank_by_sparse_vectors(
            replace(queries, weights=rarity[queries.dimensions]), bare_passages, DEPTH, 1.0
        ),
    }
    return {kind: values_of(found, pool, measure) for kind, found in rankings.items()}
