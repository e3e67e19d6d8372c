"""Queries and their candidates as pairs of distinct texts: what is equal is scored once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from retrieval.rerankers.base import Candidates, check_scores
from retrieval.rerankers.classifier import distinct

PairScores = Callable[[list[str], list[str], np.ndarray], np.ndarray]
"""From distinct queries, distinct texts and pairs of them, (n, 2) int64, each once, to (n,) scores."""


def score_pairs(
    queries: Sequence[str], candidates: Sequence[Candidates], score: PairScores, name: str
) -> list[np.ndarray]:
    """Return the scores of each query's candidates, (n_i,) float64; equal texts of a query tie exactly.

    Args:
        queries: their texts.
        candidates: of each query.
        score: the model.
        name: the reranker's, for messages.

    Raises:
        RerankerError: a score is not finite; the message names query and document.
    """
    counts = [len(given) for given in candidates]
    distinct_queries, of_queries = distinct(queries)
    documents, of_documents = distinct(text for given in candidates for text in given.texts)
    # One number for each pair of a query and a text, so that equal pairs are found.
    pairs = np.repeat(of_queries, counts) * len(documents) + of_documents  # (sum of counts,)
    wanted, places = np.unique(pairs, return_inverse=True)
    if not len(wanted):
        return [np.empty(0, np.float64) for _ in candidates]
    rows = np.stack(np.divmod(wanted, len(documents)), axis=1)  # (n, 2)
    found = score(distinct_queries, documents, rows)[places]
    return [
        check_scores(part, query, given, name)
        for part, query, given in zip(np.split(found, np.cumsum(counts)[:-1]), queries, candidates, strict=True)
    ]
