"""Running queries over a snapshot: lexical, dense, sparse, or all that there is, fused."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from indexes.aggregation import BEST_PASSAGE, Aggregation
from indexes.hits import Hits
from retrieval.collection.settings import Fusion
from retrieval.errors import QueryError
from retrieval.evidence import SearchEvidence
from retrieval.found_ids import found_ids
from retrieval.fusion import fuse
from retrieval.results import Mode, SearchResults

if TYPE_CHECKING:
    from indexes.bm25 import BM25Settings
    from indexes.sparse_vectors import SparseVectors
    from retrieval.analysis import Analyser
    from retrieval.collection.snapshot import Snapshot
    from retrieval.filters import Filter
    from retrieval.required_terms import RequiredTerms

Syntax = Literal["plain", "query"]
Masks = list[np.ndarray | None]

_CANDIDATES = 10
_LEAST_CANDIDATES = 100
"""Documents whose passages are aggregated where an approximate searcher names them: so many for each one asked for, and
at least so many."""


@dataclass(frozen=True)
class SearchOptions:
    """How a search runs.

    Attributes:
        mode: "hybrid", "bm25", "dense" or "sparse"; None takes hybrid where there are vectors of either kind, BM25
            otherwise.
        where: which documents may be returned; None allows all.
        syntax: "plain" takes the query as it is; "query" understands +required, -excluded and "quoted phrases".
        exact: score every vector even where there is an approximate searcher.
        bm25: BM25's parameters.
        unit: integer unit of the stored term frequencies (see `Fields`).
        fusion: how lists are fused in hybrid mode.
        aggregate: how the scores of a document's passages, by their vectors, become its score.
        threads: for how many plain queries postings, BM25's and those of sparse vectors, are searched at a time; None
            takes all processors. Queries in query syntax run one after the other, for each has a filter of its own.
    """

    bm25: BM25Settings
    unit: int
    fusion: Fusion
    mode: Mode | None = None
    where: Filter | None = None
    syntax: Syntax = "plain"
    exact: bool = False
    aggregate: Aggregation = BEST_PASSAGE
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
        encode_sparse: texts to sparse vectors; called only when these are searched.
        options: how.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        analyser: Analyser,
        encode_queries: Callable[[list[str]], np.ndarray],
        encode_sparse: Callable[[list[str]], SparseVectors],
        options: SearchOptions,
    ) -> None:
        self._snapshot = snapshot
        self._analyser = analyser
        self._encode = encode_queries
        self._encode_sparse = encode_sparse
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
        searched = self._representations(mode)
        if self._options.aggregate.method != "max" and "dense" not in searched:
            raise QueryError(
                f"aggregate {self._options.aggregate.method!r} is of passages with vectors, and mode {mode!r} searches "
                "none; leave it out, or use 'dense' or 'hybrid' on a collection with vectors"
            )
        depth = k if mode != "hybrid" else self._options.fusion.depth
        texts = [query.text for query in prepared]
        found: dict[str, Sequence[Hits]] = {}
        if "bm25" in searched:
            found["bm25"] = self._lexical(prepared, masks, depth)
        if "dense" in searched:
            vectors = self._vectors(texts, vectors)
            found["dense"] = self._dense(vectors, masks, depth)
        sparse = None
        if "sparse" in searched:
            sparse = self._encode_sparse(texts)
            found["sparse"] = self._sparse(sparse, masks, depth)
        lists = [{name: hits[number] for name, hits in found.items()} for number in range(len(prepared))]
        ranked = [self._fused(one, k) if mode == "hybrid" else one[mode].cut(k) for one in lists]
        results = []
        for number, ids in enumerate(found_ids(self._snapshot, ranked)):
            evidence = SearchEvidence(
                self._snapshot,
                self._options,
                prepared[number].weights,
                lists[number],
                None if vectors is None else vectors[number : number + 1],
                sparse=None if sparse is None else sparse.some(number, number + 1),
                mode=mode,
            )
            results.append(SearchResults(ids, ranked[number], evidence, mode))
        return results

    def _representations(self, mode: Mode) -> list[str]:
        """Return what is searched, in the order of fusion."""
        if mode != "hybrid":
            return [mode]
        there = {"bm25": True, "dense": self._snapshot.has_vectors, "sparse": self._snapshot.has_sparse}
        return [name for name, is_there in there.items() if is_there]

    def _mode(self, vectors: np.ndarray | None) -> Mode:
        mode, snapshot = self._options.mode, self._snapshot
        if mode not in (None, "hybrid", "bm25", "dense", "sparse"):
            raise QueryError(f"unknown mode {mode!r}: 'hybrid', 'bm25', 'dense' or 'sparse'")
        has_any = snapshot.has_vectors or snapshot.has_sparse
        if (mode == "dense" and not snapshot.has_vectors) or (mode == "hybrid" and not has_any):
            raise QueryError(
                f"mode {mode!r} needs vectors and this collection has none; use mode='bm25', "
                "or reencode() with an encoder"
            )
        if mode == "sparse" and not snapshot.has_sparse:
            raise QueryError(
                "mode 'sparse' needs sparse vectors and this collection has none; use another mode, or "
                "reencode_sparse() with a sparse encoder"
            )
        if mode is None:
            mode = "hybrid" if has_any else "bm25"
        if vectors is not None and (mode in ("bm25", "sparse") or not snapshot.has_vectors):
            raise QueryError(f"a query vector is of no use in mode {mode!r}; leave it out or use 'dense'")
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

    def _vectors(self, texts: list[str], given: np.ndarray | None) -> np.ndarray:
        """Return the queries' vectors, ready to be compared by inner product."""
        from indexes.vectors import normalise

        vectors = self._encode(texts) if given is None else given
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

    def _lexical(self, queries: Sequence[PreparedQuery], masks: Sequence[Masks], depth: int) -> list[Hits]:
        searcher = self._snapshot.bm25(self._options.bm25, self._options.unit)
        if self._options.syntax == "plain":
            return searcher.search_many([query.weights for query in queries], depth, masks[0], self._options.threads)
        return [searcher.search(query.weights, depth, mask) for query, mask in zip(queries, masks, strict=True)]

    def _dense(self, vectors: np.ndarray, masks: Sequence[Masks], depth: int) -> list[Hits]:
        exact, aggregate = self._options.exact, self._options.aggregate
        if self._options.syntax == "plain":
            return nearest(self._snapshot, vectors, depth, masks[0], exact=exact, aggregate=aggregate)
        return [
            hits
            for vector, mask in zip(vectors, masks, strict=True)
            for hits in nearest(self._snapshot, vector[None, :], depth, mask, exact=exact, aggregate=aggregate)
        ]

    def _sparse(self, queries: SparseVectors, masks: Sequence[Masks], depth: int) -> list[Hits]:
        retriever = self._snapshot.sparse
        if self._options.syntax == "plain":
            return retriever.search_many(queries, depth, masks[0], self._options.threads)
        return [
            hits
            for number, mask in enumerate(masks)
            for hits in retriever.search_many(queries.some(number, number + 1), depth, mask)
        ]

    def _fused(self, lists: Mapping[str, Hits], k: int) -> Hits:
        fusion = self._options.fusion
        of_lists = {"bm25": 1 - fusion.dense_weight, "dense": fusion.dense_weight, "sparse": fusion.sparse_weight}
        weights = [of_lists[name] for name in lists]
        if fusion.method == "rrf":
            weights = [2 * weight for weight in weights]  # 0.5 is the plain formula
        return fuse(list(lists.values()), weights, fusion, k)


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


def nearest(
    snapshot: Snapshot,
    vectors: np.ndarray,
    k: int,
    masks: Masks,
    *,
    exact: bool,
    aggregate: Aggregation = BEST_PASSAGE,
) -> list[Hits]:
    """Return the documents nearest to each vector, through the approximate searcher if there is one.

    Where a document's score is not its best passage's, the searcher names the documents of the best passages, ten times
    as many as are asked for and at least 100, and these get their exact aggregate scores over all their passages.

    Args:
        snapshot: what to search.
        vectors: (n, d) float32.
        k: how many documents at most.
        masks: rows that may be returned, by segment.
        exact: score every vector all the same.
        aggregate: from the scores of passages to that of their document.
    """
    from indexes.dense import search_exact

    searcher = None if exact else snapshot.searcher
    if searcher is None and aggregate.method == "max":
        return search_exact(snapshot.dense, vectors, k, masks)
    if searcher is None:
        from indexes.dense_aggregation import search_aggregated

        return search_aggregated(snapshot.dense, vectors, k, aggregate, masks)
    from indexes.searchers.rescoring import search_with

    wanted = k if aggregate.method == "max" else max(_CANDIDATES * k, _LEAST_CANDIDATES)
    found = search_with(searcher, snapshot.covered, snapshot.dense, vectors, wanted, masks=masks)
    if aggregate.method == "max":
        return found
    from indexes.dense_aggregation import score_aggregated

    return [
        score_aggregated(snapshot.dense, vector, hits, k, aggregate)
        for vector, hits in zip(vectors, found, strict=True)
    ]
