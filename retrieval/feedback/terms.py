"""Feedback for BM25: the terms of the best documents, read from the index, become terms of the query, with weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from retrieval.feedback.bags import interpolated, mean_direction, moved, relevance_model
from retrieval.feedback.ends import first_and_last
from retrieval.feedback.settings import RM3, Feedback, Rocchio

if TYPE_CHECKING:
    from indexes.bm25 import BM25Searcher
    from indexes.hits import Hits
    from retrieval.collection.snapshot import Snapshot

_SHORTEST, _LONGEST = 2, 20
"""Characters of a term that feedback may add."""


class TermFeedback:
    """Expands BM25's queries over one snapshot.

    Args:
        snapshot: where the documents lie.
        searcher: of the same snapshot; its statistics are those of the living documents.
        settings: the method.
    """

    def __init__(self, snapshot: Snapshot, searcher: BM25Searcher, settings: Feedback) -> None:
        if not isinstance(settings, RM3 | Rocchio):
            raise TypeError(f"{settings!r} is no feedback by terms")
        self._segments = snapshot.segments
        self._n_documents = snapshot.n_documents
        self._searcher = searcher
        self._settings = settings

    def expanded(self, query: Mapping[str, float], hits: Hits) -> Mapping[str, float]:
        """Return the query that the best documents make of one.

        Args:
            query: terms and weights.
            hits: what it found, best first.
        """
        if not query:
            return query
        settings = self._settings
        if isinstance(settings, RM3):
            relevant = hits.cut(settings.documents)
            model = relevance_model(self._bags(relevant), relevant.scores.tolist(), settings.terms)
            return interpolated(query, model, settings.weight)
        best, last = first_and_last(hits, settings.documents, settings.gamma)
        relevant_mean, other_mean = (mean_direction(self._bags(part), settings.terms) for part in (best, last))
        return moved(query, relevant_mean, other_mean, alpha=settings.alpha, beta=settings.beta, gamma=settings.gamma)

    def _bags(self, hits: Hits) -> list[dict[str, float]]:
        """Return of each document the frequencies of those terms that feedback may add."""
        held = []
        for segment, row in zip(hits.segments.tolist(), hits.rows.tolist(), strict=True):
            index = self._segments[segment].lexical
            numbers, frequencies = index.document(row)
            held.append((index.dictionary.some(numbers), frequencies.tolist()))
        terms = list({term for of_document, _ in held for term in of_document if _SHORTEST <= len(term) <= _LONGEST})
        most = self._settings.share * self._n_documents
        rare = self._searcher.document_frequencies(terms) <= most
        allowed = {term for term, is_rare in zip(terms, rare.tolist(), strict=True) if is_rare}
        return [
            {term: float(count) for term, count in zip(*of_document, strict=True) if term in allowed}
            for of_document in held
        ]
