"""Searching the sparse vectors of several segments: passages are scored, documents are returned, each with its best."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexes.hits import Hits
from indexes.sparse import SparseSearcher, SparseSegment, SparseVectors
from retrieval.collection.sparse_store import SparseStore

_DEEPER = 4
"""How much further a search looks that found too few documents behind its passages."""


class SparseRetriever:
    """Finds documents by the sparse vectors of their passages. Immutable, safe to use from several threads.

    Args:
        stores: of each segment, all of one payload.
        alive: for each segment (n_documents,) bool, False for deleted documents; None when none is deleted.
        sequences: for each segment (n_documents,) int64, ascending: equal scores are ordered by it.
    """

    def __init__(
        self, stores: Sequence[SparseStore], alive: Sequence[np.ndarray | None], sequences: Sequence[np.ndarray]
    ) -> None:
        self._stores = stores
        self._searcher = SparseSearcher(
            [
                SparseSegment(store.index, None if living is None else living[store.rows], numbers[store.rows])
                for store, living, numbers in zip(stores, alive, sequences, strict=True)
            ]
        )
        self._n_passages = sum(store.n_passages for store in stores)
        self._one_each = all(store.one_each for store in stores)

    def search_many(
        self,
        queries: SparseVectors,
        k: int,
        masks: Sequence[np.ndarray | None] | None = None,
        threads: int | None = None,
    ) -> list[Hits]:
        """Return for each query the best k documents that share a dimension with it; exact.

        A document scores what its best passage scores.

        Args:
            queries: with weights, or without where each dimension counts 1.
            k: how many documents at most.
            masks: for each segment which documents may be returned, (n_documents,) bool; None allows all.
            threads: how many queries run at a time; None takes all processors. Results do not depend on it.

        Raises:
            CorruptIndexError: the index is damaged where the search reads it.
        """
        of_passages = None
        if masks is not None and any(mask is not None for mask in masks):
            of_passages = [
                None if mask is None else mask[store.rows] for mask, store in zip(masks, self._stores, strict=True)
            ]
        if self._one_each:
            return self._searcher.search_many(queries, k, of_passages, threads)
        found: list[Hits] = [Hits.empty()] * len(queries)
        waiting, depth = np.arange(len(queries)), k
        while len(waiting):
            asked = queries if len(waiting) == len(queries) else _some(queries, waiting)
            again = []
            for query, hits in zip(
                waiting.tolist(), self._searcher.search_many(asked, depth, of_passages, threads), strict=True
            ):
                found[query] = self._documents(hits).cut(k)
                # Passages that were not returned yet may belong to documents that are missing still.
                if len(found[query].rows) < k and len(hits.rows) == depth < self._n_passages:
                    again.append(query)
            waiting, depth = np.array(again, np.int64), min(depth * _DEEPER, self._n_passages)
        return found

    def best_passage(self, query: SparseVectors, segment: int, row: int) -> tuple[int, float]:
        """Return the position of a document's best passage in its segment's store, and its score."""
        positions = np.array(self._stores[segment].of_document(row), np.int64)
        scores = self._searcher.score(query, segment, positions)
        best = int(scores.argmax())  # the first of equal ones
        return int(positions[best]), float(scores[best])

    def _documents(self, hits: Hits) -> Hits:
        """Return the documents of passages, each once, where its best passage stands."""
        # The passages come best first, and those of one document share its sequence number, which is nobody else's.
        _, first = np.unique(hits.sequences, return_index=True)
        first.sort()
        segments, passages, scores, sequences = (column[first] for column in hits)
        rows = np.empty(len(first), np.int64)
        for number in np.unique(segments).tolist():
            here = segments == number
            rows[here] = self._stores[number].rows[passages[here]]
        return Hits(segments, rows, scores, sequences)


def _some(vectors: SparseVectors, numbers: np.ndarray) -> SparseVectors:
    from retrieval.sparse_encoding import gathered

    return gathered([vectors], numbers)
