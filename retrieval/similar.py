"""Documents like one that is stored already."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING

import numpy as np

from indexes.hits import Hits, select_top
from retrieval.evidence import SearchEvidence
from retrieval.results import SearchResults
from retrieval.search import Masks, SearchOptions, checked_k, nearest

if TYPE_CHECKING:
    from retrieval.collection.snapshot import Snapshot

QUERY_TERMS = 25
"""Terms of a document that make the query for its like: the highest tf-idf, as Lucene's MoreLikeThis takes."""


def similar(snapshot: Snapshot, options: SearchOptions, place: tuple[int, int], k: int) -> SearchResults:
    """Return the documents nearest to the one at `place` (segment number, row), which is left out.

    With vectors, a document's score is the best similarity between a passage of the one and a passage of the other;
    without, it is BM25's for the document's most telling terms.

    Raises:
        QueryError: k makes no sense.
    """
    k = checked_k(k)
    masks = _without(snapshot, snapshot.masks(options.where), place)
    passages = snapshot.segments[place[0]].passages
    if passages is None or not len(positions := passages.of_document(place[1])):
        weights = telling_terms(snapshot, options, place)
        hits = snapshot.bm25(options.bm25, options.unit).search(weights, k, masks)
        evidence = SearchEvidence(snapshot, options, weights, {"bm25": hits}, None, mode="bm25")
        return SearchResults(snapshot.ids(hits.segments, hits.rows), hits, evidence, "bm25")
    vectors = passages.vectors.gather(np.array(positions, np.int64))
    hits = best_of(nearest(snapshot, vectors, k, masks, exact=options.exact), k)
    evidence = SearchEvidence(snapshot, options, {}, {"dense": hits}, vectors, mode="dense")
    return SearchResults(snapshot.ids(hits.segments, hits.rows), hits, evidence, "dense")


def _without(snapshot: Snapshot, masks: Masks, place: tuple[int, int]) -> Masks:
    number, row = place
    mask = masks[number]
    mask = np.ones(snapshot.segments[number].entry.n_documents, bool) if mask is None else mask.copy()
    mask[row] = False
    return [*masks[:number], mask, *masks[number + 1 :]]


def best_of(lists: list[Hits], k: int) -> Hits:
    """Return the best k documents of several lists, each with its highest score."""
    segments, rows, scores, sequences = (np.concatenate(column) for column in zip(*lists, strict=True))
    order = np.lexsort((-scores, sequences))
    _, first = np.unique(sequences[order], return_index=True)
    best = order[first]  # by sequence, so that the position breaks ties as everywhere
    places, top = select_top(scores[best], np.arange(len(best)), k)
    chosen = best[places]
    return Hits(segments[chosen], rows[chosen], top, sequences[chosen])


def telling_terms(snapshot: Snapshot, options: SearchOptions, place: tuple[int, int]) -> dict[str, float]:
    """Return the terms of a document with the highest tf-idf, each counting once."""
    number, row = place
    index = snapshot.segments[number].lexical
    terms = [index.term(int(term_id)) for term_id in index.document(row)[0]]
    # Frequencies over living documents only: the choice must not depend on what was deleted.
    held = snapshot.bm25(options.bm25, options.unit).explain(dict.fromkeys(terms, 1.0), number, row)
    weights = [(-term.frequency * log(1 + snapshot.n_documents / term.document_frequency), term.term) for term in held]
    return {term: 1.0 for _, term in sorted(weights)[:QUERY_TERMS]}
