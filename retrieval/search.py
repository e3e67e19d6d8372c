"""Running queries over a snapshot: lexical, dense, or both fused."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from indexes.hits import Hits
from retrieval.collection.settings import Fusion
from retrieval.errors import QueryError
from retrieval.evidence import SearchEvidence
from retrieval.found_ids import found_ids
from retrieval.fusion import fuse
from retrieval.results import Mode, SearchResults

if TYPE_CHECKING:
    from indexes.bm25 import BM25Settings
    from retrieval.analysis import Analyser
    from retrieval.collection.snapshot import Snapshot
    from retrieval.filters import Filter
    from retrieval.required_terms import RequiredTerms

Syntax = Literal["plain", "query"]
Masks = list[np.ndarray | None]


@dataclass(frozen=True)
class SearchOptions:
    """How a search runs.

    Attributes:
        mode: "hybrid", "bm25" or "dense"; None takes hybrid where there are vectors, BM25 otherwise.
        where: which documents may be returned; None allows all.
        syntax: "plain" takes the query as it is; "query" understands +required, -excluded and "quoted phrases".
        exact: score every vector even where there is an approximate searcher.
        bm25: BM25's parameters.
        unit: integer unit of the stored term frequencies (see `Fields`).
        fusion: how lists are fused in hybrid mode.
        threads: how many plain queries BM25 searches for at a time; None takes all processors. Those in query syntax
            run one after the other, for each has a filter of its own.
    """

    bm25: BM25Settings
    unit: int
    fusion: Fusion
    mode: Mode | None = None
    where: Filter | None = None
    syntax: Syntax = "plain"
    exact: bool = False
    threads: int | None = None


class PreparedQuery(NamedTuple):
    """A query, analysed.

    Attributes:
        text: what the encoder reads.
        weights: BM25 terms and how often they count.
        required: conditions on the documents' terms; None for plain queries.
    """

    text: str
    weights: Mapping[str, float]
    required: RequiredTerms | None


class QueryRunner:
    """Searches one snapshot; keeps no state between queries.

    Args:
        snapshot: what to search.
        analyser: the collection's.
        encode_queries: texts to (n, d) float32; called only when vectors are searched and none are given.
        options: how.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        analyser: Analyser,
        encode_queries: Callable[[list[str]], np.ndarray],
        options: SearchOptions,
    ) -> None:
        self._snapshot = snapshot
        self._analyser = analyser
        self._encode = encode_queries
        self._options = options

    def run(self, queries: Sequence[str], k: int, vectors: np.ndarray | None = None) -> list[SearchResults]:
        """Return the best k documents for each query.

        Args:
            queries: texts; may be empty strings only where vectors are searched alone.
            k: how many at most, at least 1.
            vectors: (n, d) float32, one for each query, instead of encoding the texts.

        Raises:
            QueryError: k, the mode or a query makes no sense.
        """
        k = checked_k(k)
        mode = self._mode(vectors)
        prepared = [self._prepare(number, text, mode) for number, text in enumerate(queries)]
        if not prepared:
            return []
        masks = self._masks(prepared)
        lexical = self._lexical(prepared, masks, k if mode == "bm25" else self._options.fusion.depth, mode)
        if mode != "bm25":
            vectors = self._vectors(prepared, vectors)
        dense = self._dense(vectors, masks, k if mode == "dense" else self._options.fusion.depth, mode)
        lists: Sequence[Mapping[str, Hits]]
        if lexical is not None and dense is not None:
            lists = [{"bm25": first, "dense": second} for first, second in zip(lexical, dense, strict=True)]
            found = [self._fused(ranked, k) for ranked in lists]
        else:
            lists = [{mode: hits} for hits in lexical or dense or ()]
            found = [ranked[mode].cut(k) for ranked in lists]
        results = []
        for number, ids in enumerate(found_ids(self._snapshot, found)):
            searched = None if vectors is None else vectors[number : number + 1]
            weights = prepared[number].weights
            evidence = SearchEvidence(self._snapshot, self._options, weights, lists[number], searched, mode=mode)
            results.append(SearchResults(ids, found[number], evidence, mode))
        return results

    def _mode(self, vectors: np.ndarray | None) -> Mode:
        mode = self._options.mode
        if mode not in (None, "hybrid", "bm25", "dense"):
            raise QueryError(f"unknown mode {mode!r}: 'hybrid', 'bm25' or 'dense'")
        if mode in ("hybrid", "dense") and not self._snapshot.has_vectors:
            raise QueryError(
                f"mode {mode!r} needs vectors and this collection has none; use mode='bm25', "
                "or reencode() with an encoder"
            )
        if mode is None:
            mode = "hybrid" if self._snapshot.has_vectors else "bm25"
        if mode == "bm25" and vectors is not None:
            raise QueryError("a query vector is of no use in mode 'bm25'; leave it out or use 'dense'")
        return mode

    def _prepare(self, number: int, text: str, mode: Mode) -> PreparedQuery:
        if not isinstance(text, str):
            raise QueryError(f"a query is a string, not {text!r}")
        if mode != "dense" and not text.strip():
            raise QueryError(f"query {number + 1} is empty; give at least one word")
        if self._options.syntax == "plain":
            return PreparedQuery(text, counted(self._analyser.terms(text)), None)
        from retrieval.query_syntax import parse_query
        from retrieval.required_terms import RequiredTerms

        parsed = parse_query(text, self._analyser)
        return PreparedQuery(parsed.plain_text, parsed.weights, RequiredTerms.of(parsed))

    def _vectors(self, queries: Sequence[PreparedQuery], given: np.ndarray | None) -> np.ndarray:
        """Return the queries' vectors, ready to be compared by inner product."""
        from indexes.vectors import normalise

        vectors = self._encode([query.text for query in queries]) if given is None else given
        encoder = self._snapshot.manifest.encoder
        return normalise(vectors) if encoder is not None and encoder.similarity == "cosine" else vectors

    def _masks(self, queries: Sequence[PreparedQuery]) -> list[Masks]:
        """Return for each query which rows of each segment may be returned."""
        masks = self._snapshot.masks(self._options.where)
        if self._options.syntax == "plain":
            return [masks] * len(queries)
        from retrieval.required_terms import restrict

        return [
            masks if query.required is None else restrict(self._snapshot, self._analyser, query.required, masks)
            for query in queries
        ]

    def _lexical(
        self, queries: Sequence[PreparedQuery], masks: Sequence[Masks], depth: int, mode: Mode
    ) -> list[Hits] | None:
        if mode == "dense":
            return None
        searcher = self._snapshot.bm25(self._options.bm25, self._options.unit)
        if self._options.syntax == "plain":
            return searcher.search_many([query.weights for query in queries], depth, masks[0], self._options.threads)
        return [searcher.search(query.weights, depth, mask) for query, mask in zip(queries, masks, strict=True)]

    def _dense(self, vectors: np.ndarray | None, masks: Sequence[Masks], depth: int, mode: Mode) -> list[Hits] | None:
        if mode == "bm25" or vectors is None:
            return None
        if self._options.syntax == "plain":
            return nearest(self._snapshot, vectors, depth, masks[0], exact=self._options.exact)
        return [
            hits
            for vector, mask in zip(vectors, masks, strict=True)
            for hits in nearest(self._snapshot, vector[None, :], depth, mask, exact=self._options.exact)
        ]

    def _fused(self, lists: Mapping[str, Hits], k: int) -> Hits:
        fusion = self._options.fusion
        weights = [1 - fusion.dense_weight, fusion.dense_weight]
        if fusion.method == "rrf":
            weights = [2 * weight for weight in weights]  # 0.5 is the plain formula
        return fuse([lists["bm25"], lists["dense"]], weights, fusion, k)


def counted(terms: Iterable[str]) -> dict[str, float]:
    """Return how often each term occurs; for a short query faster than a `Counter`."""
    counts: dict[str, float] = {}
    for term in terms:
        counts[term] = counts.get(term, 0) + 1
    return counts


def checked_k(k: int) -> int:
    """Return how many documents are wanted, as Python's integer.

    Raises:
        QueryError: it is not a whole number, or less than 1.
    """
    try:
        whole = operator.index(k)
    except TypeError:
        raise QueryError(f"k must be a whole number, not {k!r}") from None
    if whole < 1:
        raise QueryError(f"k must be at least 1, not {whole}")
    return whole


def nearest(snapshot: Snapshot, vectors: np.ndarray, k: int, masks: Masks, *, exact: bool) -> list[Hits]:
    """Return the documents nearest to each vector, through the approximate searcher if there is one.

    Args:
        snapshot: what to search.
        vectors: (n, d) float32.
        k: how many documents at most.
        masks: rows that may be returned, by segment.
        exact: score every vector all the same.
    """
    from indexes.dense import search_exact

    searcher = None if exact else snapshot.searcher
    if searcher is None:
        return search_exact(snapshot.dense, vectors, k, masks)
    from indexes.searchers.rescoring import search_with

    return search_with(searcher, snapshot.covered, snapshot.dense, vectors, k, masks=masks)
