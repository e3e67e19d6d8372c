"""Running queries over a snapshot: lexical, dense, sparse, or several of them fused, and rerankers behind them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from indexes.aggregation import BEST_PASSAGE, Aggregation
from indexes.hits import Hits
from retrieval.collection.settings import Fusion
from retrieval.errors import QueryError
from retrieval.evidence import SearchEvidence
from retrieval.feedback.twice import Answered, Expander, search_twice
from retrieval.first_stage import of_mode, of_pipeline
from retrieval.found_ids import found_ids
from retrieval.fusion import fuse
from retrieval.pipeline.report import StageClock
from retrieval.pipeline.stages import FUSION
from retrieval.results import Mode, SearchResults

if TYPE_CHECKING:
    from indexes.bm25 import BM25Settings
    from indexes.sparse_vectors import SparseVectors
    from retrieval.analysis import Analyser
    from retrieval.collection.snapshot import Snapshot
    from retrieval.collection.token_slot import TokenSlot
    from retrieval.feedback.settings import Feedback
    from retrieval.filters import Filter
    from retrieval.first_stage import FirstStage
    from retrieval.pipeline.reranking import Reranked
    from retrieval.pipeline.stages import Pipeline
    from retrieval.required_terms import RequiredTerms
    from retrieval.rerankers.base import Reranker

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
        pipeline: stages instead of a mode.
        rerankers: those of the pipeline, by name.
        where: which documents may be returned; None allows all.
        syntax: "plain" takes the query as it is; "query" understands +required, -excluded and "quoted phrases".
        exact: score every vector even where there is an approximate searcher.
        bm25: BM25's parameters; None where term frequencies are impacts, which are added up.
        unit: integer unit of the stored term frequencies (see `Fields`).
        fusion: how lists are fused in hybrid mode.
        aggregate: how the scores of a document's passages, by their vectors, become its score.
        threads: for how many plain queries postings, BM25's and those of sparse vectors, are searched at a time; None
            takes all processors. Queries in query syntax run one after the other, for each has a filter of its own.
    """

    bm25: BM25Settings | None
    unit: int
    fusion: Fusion
    mode: Mode | None = None
    pipeline: Pipeline | None = None
    rerankers: Mapping[str, Reranker] = field(default_factory=dict)
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
        stored: networks whose states the snapshot stores, by the names of their stages.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        analyser: Analyser,
        encode_queries: Callable[[list[str]], np.ndarray],
        encode_sparse: Callable[[list[str]], SparseVectors],
        options: SearchOptions,
        *,
        stored: Mapping[str, TokenSlot] | None = None,
    ) -> None:
        self._snapshot = snapshot
        self._analyser = analyser
        self._encode = encode_queries
        self._encode_sparse = encode_sparse
        self._options = options
        self._stored = stored or {}

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
        first = self._first_stage(k, with_vectors=vectors is not None)
        self._check_aggregate(first)
        prepared = [self._prepare(number, text, first) for number, text in enumerate(queries)]
        if not prepared:
            return []
        masks = self._masks(prepared)
        texts = [query.text for query in prepared]
        clock = StageClock(len(prepared))
        weights: Sequence[Mapping[str, float]] = [query.weights for query in prepared]
        found: dict[str, Sequence[Hits]] = {}
        fed_back: dict[str, Sequence[Hits]] = {}
        dense: Sequence[np.ndarray] | None = None
        sparse: Sequence[SparseVectors] | None = None
        for name in first.depths:
            if name == "bm25":
                weights, found[name], fed_back[name] = self._lexical(weights, masks, first)
            elif name == "dense":
                dense, found[name], fed_back[name] = self._dense(self._vectors(texts, vectors), masks, first)
            else:
                sparse, found[name], fed_back[name] = self._sparse(self._encode_sparse(texts), masks, first)
            clock.stage(first.label(name), found[name])
        lists = [{name: hits[number] for name, hits in found.items()} for number in range(len(prepared))]
        ranked = [self._fused(one, first) for one in lists]
        if len(found) > 1:
            clock.stage(FUSION, ranked)
        reranked = self._reranked(texts, ranked)
        answers = [hits.cut(k) for hits in ranked] if reranked is None else [each.hits.cut(k) for each in reranked]
        results = []
        for number, ids in enumerate(found_ids(self._snapshot, answers)):
            evidence = SearchEvidence(
                self._snapshot,
                self._options,
                weights[number],
                lists[number],
                None if dense is None else dense[number][None, :],
                sparse=None if sparse is None else sparse[number],
                feedback={first.label(name): hits[number] for name, hits in fed_back.items() if hits},
                mode=first.name,
                retrieved=ranked[number],
                steps=() if reranked is None else reranked[number].steps,
            )
            stages = clock.reports(number) + ([] if reranked is None else reranked[number].reports)
            results.append(SearchResults(ids, answers[number], evidence, first.name, stages))
        return results

    def _first_stage(self, k: int, *, with_vectors: bool) -> FirstStage:
        options, snapshot = self._options, self._snapshot
        if options.pipeline is None:
            return of_mode(snapshot, options.mode, k, options.fusion, with_vectors=with_vectors)
        return of_pipeline(snapshot, options.pipeline, k, options.fusion, with_vectors=with_vectors)

    def _reranked(self, texts: Sequence[str], ranked: Sequence[Hits]) -> list[Reranked] | None:
        """Send ranked lists through the rerankers; None where there are none."""
        if self._options.pipeline is None or not self._options.pipeline.active_rerankers:
            return None
        from retrieval.pipeline.plan import check_known
        from retrieval.pipeline.reranking import rerank
        from retrieval.pipeline.stored_states import StateReranker

        rerankers: dict[str, Reranker | StateReranker] = dict(self._options.rerankers)
        rerankers |= {name: StateReranker(name, slot) for name, slot in self._stored.items()}
        stages = self._options.pipeline.active_rerankers
        check_known(self._options.pipeline, rerankers)  # another process may have dropped states since they were named
        return rerank(self._snapshot, texts, ranked, stages, rerankers)

    def _check_aggregate(self, first: FirstStage) -> None:
        method = self._options.aggregate.method
        if method != "max" and "dense" not in first.depths:
            what = "mode" if self._options.pipeline is None else "pipeline"
            raise QueryError(
                f"aggregate {method!r} is of passages with vectors, and {what} {first.name!r} searches none; leave it "
                "out, or use 'dense' or 'hybrid' on a collection with vectors"
            )

    def _prepare(self, number: int, text: str, first: FirstStage) -> PreparedQuery:
        if not isinstance(text, str):
            raise QueryError(f"a query is a string, not {text!r}")
        pipeline = self._options.pipeline
        by_vectors_alone = list(first.depths) == ["dense"] and (pipeline is None or not pipeline.active_rerankers)
        if not by_vectors_alone and not text.strip():
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

    def _lexical(
        self, queries: Sequence[Mapping[str, float]], masks: Sequence[Masks], first: FirstStage
    ) -> Answered[Mapping[str, float]]:
        searcher = self._snapshot.bm25(self._options.bm25, self._options.unit)

        def search(asked: Sequence[Mapping[str, float]], k: int) -> list[Hits]:
            if self._options.syntax == "plain":
                return searcher.search_many(asked, k, masks[0], self._options.threads)
            return [searcher.search(query, k, mask) for query, mask in zip(asked, masks, strict=True)]

        def expander(method: Feedback) -> Expander[Mapping[str, float]]:
            from retrieval.feedback.terms import TermFeedback

            return TermFeedback(self._snapshot, searcher, method)

        return search_twice(queries, search, first.depths["bm25"], first.feedback.get("bm25"), expander)

    def _dense(self, vectors: np.ndarray, masks: Sequence[Masks], first: FirstStage) -> Answered[np.ndarray]:
        exact, aggregate = self._options.exact, self._options.aggregate

        def search(asked: Sequence[np.ndarray], k: int) -> list[Hits]:
            if self._options.syntax == "plain":
                return nearest(self._snapshot, np.asarray(asked), k, masks[0], exact=exact, aggregate=aggregate)
            return [
                hits
                for vector, mask in zip(asked, masks, strict=True)
                for hits in nearest(self._snapshot, vector[None, :], k, mask, exact=exact, aggregate=aggregate)
            ]

        def expander(method: Feedback) -> Expander[np.ndarray]:
            from retrieval.feedback.vectors import DenseFeedback

            return DenseFeedback(self._snapshot, method)

        return search_twice(list(vectors), search, first.depths["dense"], first.feedback.get("dense"), expander)

    def _sparse(self, queries: SparseVectors, masks: Sequence[Masks], first: FirstStage) -> Answered[SparseVectors]:
        retriever = self._snapshot.sparse

        def search(asked: Sequence[SparseVectors], k: int) -> list[Hits]:
            if self._options.syntax == "plain":
                from retrieval.sparse_encoding import gathered

                together = asked[0] if len(asked) == 1 else gathered(asked, np.arange(len(asked)))
                return retriever.search_many(together, k, masks[0], self._options.threads)
            return [
                hits for query, mask in zip(asked, masks, strict=True) for hits in retriever.search_many(query, k, mask)
            ]

        def expander(method: Feedback) -> Expander[SparseVectors]:
            from retrieval.feedback.vectors import SparseFeedback

            return SparseFeedback(self._snapshot, method)

        single = [queries.some(number, number + 1) for number in range(len(queries))]
        return search_twice(single, search, first.depths["sparse"], first.feedback.get("sparse"), expander)

    def _fused(self, lists: Mapping[str, Hits], first: FirstStage) -> Hits:
        if len(lists) == 1:
            return next(iter(lists.values())).cut(first.keep)
        fusion = self._options.fusion
        of_lists = {"bm25": 1 - fusion.dense_weight, "dense": fusion.dense_weight, "sparse": fusion.sparse_weight}
        weights = [of_lists[name] for name in lists]
        if fusion.method == "rrf":
            weights = [2 * weight for weight in weights]  # 0.5 is the plain formula
        # The lists are as deep as they were asked to be, each by itself.
        deepest = max(first.depths.values())
        if deepest != fusion.depth:
            fusion = replace(fusion, depth=deepest)
        return fuse(list(lists.values()), weights, fusion, first.keep)


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
