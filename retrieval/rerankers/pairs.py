"""Queries and their candidates as pairs of distinct texts: what is equal is scored once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from retrieval.batching import distinct
from retrieval.rerankers.base import Candidates, check_scores

PairScores = Callable[[list[str], list[str], np.ndarray], np.ndarray]
"""From distinct queries, distinct texts and pairs of them, (n, 2) int64, each once, to (n,) scores."""


@dataclass(frozen=True)
class Pairs:
    """The different pairs among queries and their candidates.

    Attributes:
        queries: distinct ones.
        documents: distinct ones.
        rows: (n, 2) int64, numbers of a query and of a document, each pair once.
        places: (sum of candidates,) int64, which pair each candidate is.
        counts: candidates of each query.
    """

    queries: list[str]
    documents: list[str]
    rows: np.ndarray
    places: np.ndarray
    counts: list[int]

    def by_query(self, found: np.ndarray) -> list[np.ndarray]:
        """Return what was found of each pair, (n, …), as an array for each query, (n_i, …)."""
        return np.split(found[self.places], np.cumsum(self.counts)[:-1])


def find_pairs(queries: Sequence[str], candidates: Sequence[Candidates]) -> Pairs:
    """Return the different pairs of one query at least."""
    counts = [len(given) for given in candidates]
    distinct_queries, of_queries = distinct(queries)
    documents, of_documents = distinct(text for given in candidates for text in given.texts)
    # One number for each pair of a query and a text, so that equal pairs are found.
    pairs = np.repeat(of_queries, counts) * len(documents) + of_documents  # (sum of counts,)
    wanted, places = np.unique(pairs, return_inverse=True)
    rows = np.stack(np.divmod(wanted, max(len(documents), 1)), axis=1)  # (n, 2)
    return Pairs(distinct_queries, documents, rows, places, counts)


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
    pairs = find_pairs(queries, candidates)
    if not len(pairs.rows):
        return [np.empty(0, np.float64) for _ in candidates]
    found = pairs.by_query(score(pairs.queries, pairs.documents, pairs.rows))
    return [
        check_scores(part, query, given, name) for part, query, given in zip(found, queries, candidates, strict=True)
    ]
