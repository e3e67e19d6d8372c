"""Feedback for vectors: the query moves towards the stored vectors of the best documents.

Li et al., "Pseudo Relevance Feedback with Deep Language Models and Dense Retrievers: Successes and Pitfalls" (2021,
arXiv:2108.11044). A document that is several passages stands there with the one that matches the query best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from retrieval.feedback.bags import SMALLEST, Key, mean_direction, moved
from retrieval.feedback.ends import first_and_last
from retrieval.feedback.settings import Feedback, SparseRocchio, VectorAverage, VectorRocchio

if TYPE_CHECKING:
    from indexes.hits import Hits
    from indexes.sparse_vectors import SparseVectors
    from retrieval.collection.snapshot import Snapshot


class DenseFeedback:
    """Moves the vectors of queries over one snapshot.

    Args:
        snapshot: where the documents lie.
        settings: the method.
    """

    def __init__(self, snapshot: Snapshot, settings: Feedback) -> None:
        if not isinstance(settings, VectorAverage | VectorRocchio):
            raise TypeError(f"{settings!r} is no feedback by vectors")
        self._snapshot = snapshot
        self._settings = settings

    def expanded(self, query: np.ndarray, hits: Hits) -> np.ndarray:
        """Return the query that the best documents make of one, (d,) float32.

        Args:
            query: (d,) float32, prepared as for the search.
            hits: what it found, best first.
        """
        from indexes.vectors import check_vectors, normalise

        vectors = self._vectors(query, hits.cut(self._settings.documents))  # (n, d)
        if not len(vectors):
            return query
        own = query.astype(np.float64)
        if isinstance(self._settings, VectorAverage):
            changed = np.concatenate([own[None, :], vectors]).mean(axis=0)
        elif self._settings.beta == 0:
            return query
        else:
            changed = self._settings.alpha * own + self._settings.beta * vectors.mean(axis=0)
        encoder = self._snapshot.manifest.encoder
        is_cosine = encoder is not None and encoder.similarity == "cosine"
        return (normalise if is_cosine else check_vectors)(changed[None, :])[0]

    def _vectors(self, query: np.ndarray, hits: Hits) -> np.ndarray:
        """Return the vector of each document's best passage, (n, d) float64, compared with its checksum."""
        from indexes.dense import best_passage

        found = []
        for segment, row in zip(hits.segments.tolist(), hits.rows.tolist(), strict=True):
            dense = self._snapshot.dense[segment]
            position, _ = best_passage(dense, row, query)
            found.append(dense.store.gather(np.array([position]))[0].astype(np.float64))
        return np.array(found).reshape(len(found), len(query))


class SparseFeedback:
    """Moves the sparse vectors of queries over one snapshot.

    Stored impacts are turned back into weights before they meet the query's, which may be of another kind: what the
    mean is for vectors of one encoder, `SparseRocchio` is for any.

    Args:
        snapshot: where the documents lie.
        settings: the method.
    """

    def __init__(self, snapshot: Snapshot, settings: Feedback) -> None:
        if not isinstance(settings, VectorAverage | SparseRocchio):
            raise TypeError(f"{settings!r} is no feedback by sparse vectors")
        self._snapshot = snapshot
        self._settings = settings

    def expanded(self, query: SparseVectors, hits: Hits) -> SparseVectors:
        """Return the query, one vector, that the best documents make of one.

        Args:
            query: one vector.
            hits: what it found, best first.
        """
        own = _bag(query, 1.0)
        if not own:
            return query
        settings = self._settings
        if isinstance(settings, VectorAverage):
            bags = self._bags(query, hits.cut(settings.documents))
            changed = _mean([own, *bags]) if bags else own
        else:
            best, last = first_and_last(hits, settings.documents, settings.gamma)
            means = [mean_direction(self._bags(query, part), settings.terms) for part in (best, last)]
            changed = moved(own, *means, alpha=settings.alpha, beta=settings.beta, gamma=settings.gamma)
        return _vector(changed)

    def _bags(self, query: SparseVectors, hits: Hits) -> list[dict[int, float]]:
        """Return the weights of each document's best passage, as if they were a query's."""
        from indexes.sparse_vectors import LARGEST_IMPACT

        recorded = self._snapshot.manifest.sparse
        largest = None if recorded is None else recorded.largest_weight
        # The query's weights come multiplied by what an impact of 1 stands for, to meet stored impacts. A document's
        # impacts that are to stand beside them are multiplied twice: once to be weights, once like those.
        scale = 1.0 if largest is None else (largest / LARGEST_IMPACT) ** 2
        bags = []
        for segment, row in zip(hits.segments.tolist(), hits.rows.tolist(), strict=True):
            store = self._snapshot.segments[segment].sparse
            if store is not None:
                position, _ = self._snapshot.sparse.best_passage(query, segment, row)
                bags.append(_bag(store.index.vectors(np.array([position])), scale))
        return bags


def _bag(vector: SparseVectors, scale: float) -> dict[int, float]:
    weights = np.ones(len(vector.dimensions)) if vector.weights is None else vector.weights.astype(np.float64)
    pairs = zip(vector.dimensions.tolist(), (weights * scale).tolist(), strict=True)
    return {dimension: weight for dimension, weight in pairs if weight > 0}


def _mean(bags: list[dict[Key, float]]) -> dict[Key, float]:
    mean: dict[Key, float] = {}
    for bag in bags:
        for key, value in bag.items():
            mean[key] = mean.get(key, 0.0) + value / len(bags)
    return {key: value for key, value in mean.items() if value >= SMALLEST}


def _vector(bag: dict[int, float]) -> SparseVectors:
    from indexes.sparse_vectors import SparseVectors

    entries = sorted(bag.items())
    dimensions = np.array([dimension for dimension, _ in entries], np.int32)
    weights = np.array([weight for _, weight in entries], np.float64)
    return SparseVectors(np.array([0, len(entries)], np.int64), dimensions, weights)
