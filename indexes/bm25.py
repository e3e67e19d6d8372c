"""BM25 over segments: exact, with statistics of the documents that are alive now (formula: `indexes.bm25_formula`).

N, df and the average length are counted over all segments without deleted documents when a searcher is made, and a
document's terms are added up in the terms' order in float64, so that scores are equal to the bit to those of one new
index of the living documents, however they are spread over segments. Nothing in the files depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexes.bm25_formula import LARGEST_PARAMETER, BM25Settings, inverse_document_frequency, length_norms
from indexes.frequency_classes import class_bounds, class_frequencies
from indexes.hits import Hits
from indexes.lexical_statistics import LexicalSegment, LexicalStatistics
from indexes.living import Masks
from indexes.postings_search import Plan, PostingsSearch, score_rows
from indexes.segment_table import Formula, PostingsSegment, SearchedSegments

__all__ = ["BM25Searcher", "BM25Settings", "LexicalSegment", "TermContribution", "inverse_document_frequency"]

Query = Mapping[str, float]


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
        self._settings = settings
        self._searched = SearchedSegments(
            [
                PostingsSegment(
                    segment.index.postings, segment.index.documents, self._formula(segment), segment.sequences
                )
                for segment in segments
            ]
        )

    def _formula(self, segment: LexicalSegment) -> Formula:
        average = float(self._statistics.average_length)
        upper, lower = class_bounds(segment.index.boxes, self._settings, self._unit, average)
        frequencies, saturation = class_frequencies(segment.index.boxes), float(self._settings.k1 * self._unit)
        return Formula(upper, lower, frequencies, segment.index.lengths, saturation, float(self._settings.b), average)

    def _worth(self, frequency: float, segment: int, row: int) -> float:
        """Return what a frequency in a document is worth, before the term's weight."""
        length = self._segments[segment].index.lengths[row]
        norm = float(length_norms(length / self._statistics.average_length, self._settings, self._unit))
        return frequency / (frequency + norm)

    def _idf(self, document_frequency: int) -> float:
        return inverse_document_frequency(self._n_documents, document_frequency)

    def search(self, query: Query, k: int, masks: Masks | None = None, *, daring: float = 1.0) -> Hits:
        """Return the best k documents that hold at least one of the query's terms.

        Args:
            query: terms and their weights, positive; for plain text how often each occurs.
            k: how many at most.
            masks: for each segment which documents may be returned, (n_documents,) bool; None allows all. Deleted
                documents are never returned. A mask does not change scores.
            daring: see `search_many`.

        Raises:
            ValueError: a weight is not positive and finite, or a mask does not fit.
            CorruptIndexError: a postings list is damaged.
        """
        return self.search_many([query], k, masks, threads=1, daring=daring)[0]

    def search_many(
        self,
        queries: Sequence[Query],
        k: int,
        masks: Masks | None = None,
        threads: int | None = None,
        *,
        daring: float = 1.0,
    ) -> list[Hits]:
        """Search for many queries at once; see `search`.

        Args:
            queries: terms and weights of each.
            k: how many at most for each.
            masks: valid for all queries.
            threads: how many queries run at a time; None takes all processors. Results do not depend on it.
            daring: 1 finds the best k. A larger factor is faster and may miss some: where a document could only come
                into the answer by parts of lists that are not read yet, its bound must exceed the k-th best score so
                far this many times. The scores of what is returned stay exact.

        Raises:
            ValueError: `daring` is below 1 or not finite; or what `search` raises.
        """
        if not 1 <= daring <= LARGEST_PARAMETER:
            raise ValueError(f"daring must be a finite factor of at least 1, not {daring!r}; 1 searches exactly")
        allowed = self._statistics.living.allowed(masks)
        if k <= 0 or not queries:
            return [Hits.empty() for _ in queries]
        return PostingsSearch(self._searched, allowed, self._plan(queries), k, daring).run(threads)

    def explain(self, query: Query, segment: int, row: int) -> list[TermContribution]:
        """Return what each query term that a document holds adds to its score, in the order in which they are added.

        Added up from left to right, starting with 0.0, the scores are the document's score to the bit.
        """
        held, frequencies = self._segments[segment].index.document(row)
        contributions = []
        for term, weight, number, document_frequency, idf in self._terms(query, segment):
            place = int(np.searchsorted(held, number))
            if number < 0 or place == len(held) or held[place] != number:
                continue
            frequency = float(frequencies[place])
            score = weight * idf * self._worth(frequency, segment, row)
            contributions.append(TermContribution(term, frequency / self._unit, document_frequency, idf, weight, score))
        return contributions

    def score(self, query: Query, segment: int, rows: np.ndarray) -> np.ndarray:
        """Return the scores of given documents, (n,) float64: what `search` gives them, 0 without any of the terms.

        Use it to score candidates that came from elsewhere. Tombstones are not looked at.

        Args:
            query: terms and weights.
            segment: number of the segment.
            rows: (n,) rows of it, in any order.

        Raises:
            ValueError: there are no such rows.
        """
        known = [(number, weight * idf) for _, weight, number, _, idf in self._terms(query, segment) if number >= 0]
        lists = np.array([number for number, _ in known], np.int64)
        weights = np.array([weight for _, weight in known], np.float64)
        return score_rows(self._searched, segment, lists, weights, rows)

    def document_frequencies(self, terms: Sequence[str]) -> np.ndarray:
        """Return how many living documents hold each term, (n,) int64."""
        return self._statistics.look_up(terms)[1]

    def _terms(self, query: Query, segment: int) -> list[tuple[str, float, int, int, float]]:
        """Return a query's known terms in order: term, weight, id in the segment, document frequency, idf."""
        terms = sorted(query)
        numbers, frequencies = self._statistics.look_up(terms)
        return [
            (
                term,
                _checked_weight(term, query[term]),
                int(number),
                int(frequency),
                self._idf(int(frequency)),
            )
            for term, number, frequency in zip(terms, numbers[segment], frequencies, strict=True)
            if frequency
        ]

    def _plan(self, queries: Sequence[Query]) -> Plan:
        terms = sorted({term for query in queries for term in query})
        numbers, frequencies = self._statistics.look_up(terms)
        idf = {
            term: (place, self._idf(frequency))
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
        lists = [ids[chosen] for ids in numbers]
        return Plan(np.array(bounds, np.int64), np.array(weights, np.float64), lists)


def _checked_weight(term: str, weight: float) -> float:
    if not 1 / LARGEST_PARAMETER <= weight <= LARGEST_PARAMETER:
        raise ValueError(f"a query weight must be positive and finite: {term!r} has {weight!r}")
    return float(weight)
