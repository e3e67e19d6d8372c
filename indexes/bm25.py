"""BM25 over segments: exact, with statistics of the documents that are alive now (formula: `indexes.bm25_formula`).

Nothing is precomputed per posting. N, df and the average length are counted over all segments without deleted
documents, and a document's terms are added up in the terms' order in float64, so that scores are equal to the bit to
those of one new index of the living documents, however they are spread over segments.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from indexes.bm25_formula import LARGEST_PARAMETER, BM25Settings, inverse_document_frequency, length_norms
from indexes.compilation import read_only
from indexes.hits import Hits, merge_hits
from indexes.lexical_statistics import LexicalSegment, LexicalStatistics, Masks

__all__ = ["BM25Searcher", "BM25Settings", "LexicalSegment", "TermContribution", "inverse_document_frequency"]

Query = Mapping[str, float]

_SMALLEST_SCORE = math.ulp(0.0)  # a document without any of the terms has 0 and is not found
_QUERIES_PER_TASK = 16
_RESULTS_PER_TASK = 1 << 22


@dataclass(frozen=True)
class TermContribution:
    """What one query term added to one document's score.

    Attributes:
        term: as it stands in the index.
        frequency: occurrences in the document; fractions come from weighted fields.
        document_frequency: living documents that hold the term.
        idf: its inverse document frequency.
        weight: the term's weight in the query.
        score: what it added.
    """

    term: str
    frequency: float
    document_frequency: int
    idf: float
    weight: float
    score: float


class _Plan(NamedTuple):
    """Queries, looked up: query q has the lists bounds[q]:bounds[q + 1], in the order of their terms."""

    bounds: np.ndarray  # (n_queries + 1,) int64
    weights: np.ndarray  # (n_lists,) float64, query weight times idf
    spans: list[tuple[np.ndarray, np.ndarray]]  # per segment, where each list's postings begin and end, int64


class BM25Searcher:
    """Searches segments as one collection. Immutable; safe to use from several threads.

    Making one costs a pass over the documents' lengths and over the deleted documents' terms: keep it for as long as
    the segments and the deleted documents are the same.

    Args:
        segments: what to search; their numbers in `Hits` are their places here.
        settings: BM25's parameters.
        unit: stored frequencies and lengths are multiples of 1 / unit (how fields are weighted by fractions: a title
            that counts 2.5 times and a text that counts once are indexed with weights 5 and 2, in units of 1 / 2).
    """

    def __init__(self, segments: Sequence[LexicalSegment], settings: BM25Settings, unit: int = 1) -> None:
        if unit < 1:
            raise ValueError(f"unit must be at least 1, not {unit!r}")
        self._statistics = LexicalStatistics(segments)
        self._segments = self._statistics.segments
        self._n_documents = self._statistics.n_documents
        self._unit = unit
        self._norms = [
            read_only(length_norms(segment.index.lengths / self._statistics.average_length, settings, unit))
            for segment in segments
        ]

    def search(self, query: Query, k: int, masks: Masks | None = None) -> Hits:
        """Return the best k documents that hold at least one of the query's terms.

        Args:
            query: terms and their weights, positive; for plain text how often each occurs.
            k: how many at most.
            masks: for each segment which documents may be returned, (n_documents,) bool; None allows all. Deleted
                documents are never returned. A mask does not change scores.

        Raises:
            ValueError: a weight is not positive and finite, or a mask does not fit.
            CorruptIndexError: a postings list is damaged.
        """
        return self.search_many([query], k, masks, threads=1)[0]

    def search_many(
        self, queries: Sequence[Query], k: int, masks: Masks | None = None, threads: int | None = None
    ) -> list[Hits]:
        """Search for many queries at once; see `search`.

        Args:
            queries: terms and weights of each.
            k: how many at most for each.
            masks: valid for all queries.
            threads: how many queries run at a time; None takes all processors. Results do not depend on it.
        """
        allowed = self._statistics.allowed(masks)
        if k <= 0 or not queries:
            return [Hits.empty() for _ in queries]
        plan = self._plan(queries)
        size = max(1, min(_QUERIES_PER_TASK, _RESULTS_PER_TASK // min(k, max(self._n_documents, 1))))
        tasks = [(first, min(first + size, len(queries))) for first in range(0, len(queries), size)]
        workers = min(threads or _n_processors(), len(tasks))
        if workers <= 1:
            parts = [self._search_range(plan, first, last, k, allowed) for first, last in tasks]
        else:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(workers) as pool:
                parts = list(pool.map(lambda task: self._search_range(plan, task[0], task[1], k, allowed), tasks))
        return [hits for part in parts for hits in part]

    def explain(self, query: Query, segment: int, row: int) -> list[TermContribution]:
        """Return what each query term that a document holds adds to its score, in the order in which they are added.

        Added up from left to right, starting with 0.0, the scores are the document's score to the bit.
        """
        held, frequencies = self._segments[segment].index.document(row)
        norm = float(self._norms[segment][row])
        contributions = []
        for term, weight, number, document_frequency in self._terms(query, segment):
            place = int(np.searchsorted(held, number))
            if number < 0 or place == len(held) or held[place] != number:
                continue
            idf = inverse_document_frequency(self._n_documents, document_frequency)
            frequency = float(frequencies[place])
            score = weight * idf * (frequency / (frequency + norm))
            contributions.append(TermContribution(term, frequency / self._unit, document_frequency, idf, weight, score))
        return contributions

    def score(self, query: Query, segment: int, rows: np.ndarray) -> np.ndarray:
        """Return the scores of given documents, (n,) float64: what `search` gives them, 0 without any of the terms.

        Use it to score candidates that came from elsewhere. Tombstones are not looked at.

        Args:
            query: terms and weights.
            segment: number of the segment.
            rows: (n,) rows of it, in any order.
        """
        rows = np.asarray(rows, dtype=np.int32)
        norms = self._norms[segment][rows]
        scores = np.zeros(len(rows))
        for _, weight, number, document_frequency in self._terms(query, segment):
            if number < 0:
                continue
            held_by, frequencies = self._segments[segment].index.postings(number)
            if not len(held_by):  # a file that somebody has made up
                continue
            place = np.minimum(np.searchsorted(held_by, rows), len(held_by) - 1)
            holds = np.flatnonzero(held_by[place] == rows)
            frequency = frequencies[place[holds]].astype(np.float64)
            idf = inverse_document_frequency(self._n_documents, document_frequency)
            scores[holds] += weight * idf * (frequency / (frequency + norms[holds]))
        return scores

    def _terms(self, query: Query, segment: int) -> list[tuple[str, float, int, int]]:
        """Return a query's known terms in order: term, weight, id in the segment, document frequency."""
        terms = sorted(query)
        numbers, frequencies = self._statistics.look_up(terms)
        return [
            (term, _checked_weight(term, query[term]), int(number), int(frequency))
            for term, number, frequency in zip(terms, numbers[segment], frequencies, strict=True)
            if frequency
        ]

    def _plan(self, queries: Sequence[Query]) -> _Plan:
        terms = sorted({term for query in queries for term in query})
        numbers, frequencies = self._statistics.look_up(terms)
        idf = {
            term: (place, inverse_document_frequency(self._n_documents, frequency))
            for place, (term, frequency) in enumerate(zip(terms, frequencies.tolist(), strict=True))
            if frequency
        }
        places: list[int] = []
        weights: list[float] = []
        bounds = [0]
        for query in queries:
            for term in sorted(query):
                weight = _checked_weight(term, query[term])
                if term in idf:
                    places.append(idf[term][0])
                    weights.append(weight * idf[term][1])
            bounds.append(len(places))
        chosen = np.array(places, np.int64)
        spans = [segment.index.spans(ids[chosen]) for segment, ids in zip(self._segments, numbers, strict=True)]
        for segment, (starts, ends) in zip(self._segments, spans, strict=True):
            segment.index.inverted.touch(starts, ends)
        return _Plan(
            bounds=read_only(np.array(bounds, np.int64)),
            weights=read_only(np.array(weights, np.float64)),
            spans=spans,
        )

    def _search_range(self, plan: _Plan, first: int, last: int, k: int, allowed: Sequence[np.ndarray]) -> list[Hits]:
        """Search for the queries first, first + 1, ... last - 1 in one segment after the other."""
        from indexes import kernels

        n_queries = last - first
        # A document worse than the k-th best of the segments before cannot be in the answer.
        floors = np.full(n_queries, _SMALLEST_SCORE)
        parts: list[list[Hits]] = [[] for _ in range(n_queries)]
        for number, (segment, (starts, ends)) in enumerate(zip(self._segments, plan.spans, strict=True)):
            depth = min(k, segment.index.n_documents)
            scores = np.empty((n_queries, depth), np.float64)
            rows = np.empty((n_queries, depth), np.int64)
            counts = np.zeros(n_queries, np.int64)
            if depth and not kernels.search(
                plan.bounds[first : last + 1],
                read_only(starts),
                read_only(ends),
                plan.weights,
                *segment.index.inverted.arrays[1:],
                self._norms[number],
                allowed[number],
                read_only(floors),
                scores,
                rows,
                counts,
            ):
                raise segment.index.inverted.damaged("points to postings of impossible documents")
            if depth == k:
                full = counts == k
                floors[full] = np.maximum(floors[full], scores[full, -1])
            for query, count in enumerate(counts.tolist()):
                if count:
                    found = rows[query, :count].copy(), scores[query, :count].copy()
                    parts[query].append(Hits.of_segment(number, *found, segment.sequences))
        return [merge_hits(part, k) for part in parts]


def _checked_weight(term: str, weight: float) -> float:
    if not 1 / LARGEST_PARAMETER <= weight <= LARGEST_PARAMETER:
        raise ValueError(f"a query weight must be positive and finite: {term!r} has {weight!r}")
    return float(weight)


def _n_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
