"""What a finished search can still say about its hits: document, best passage, and why it was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from indexes.hits import Hits
from retrieval.results import CountedPassage, Explanation, FeedbackUsed, MatchedPassage

if TYPE_CHECKING:
    from indexes.sparse_vectors import SparseVectors
    from retrieval.collection.snapshot import Snapshot
    from retrieval.documents import Document
    from retrieval.pipeline.order import StageRank, Step
    from retrieval.search import SearchOptions


class SearchEvidence:
    """The state that one query's hits share: the snapshot it ran on, its terms, its vector, its lists.

    Args:
        snapshot: what was searched.
        options: how.
        weights: BM25 terms of the query, as the last search had them.
        lists: the ranked lists before fusion, by retriever.
        vectors: (m, d) float32, the query's (several where a document with several passages is the query); None
            where no vectors were searched.
        sparse: the query's sparse vector; None where no sparse vectors were searched.
        mode: what ran.
        feedback: what was taken for relevant, by retriever and method; empty without feedback.
        retrieved: what the first stage of a pipeline returned.
        steps: what the stages behind it did.
    """

    __slots__ = (
        "_feedback",
        "_lists",
        "_mode",
        "_options",
        "_retrieved",
        "_snapshot",
        "_sparse",
        "_steps",
        "_vectors",
        "_weights",
    )

    def __init__(
        self,
        snapshot: Snapshot,
        options: SearchOptions,
        weights: Mapping[str, float],
        lists: Mapping[str, Hits],
        vectors: np.ndarray | None,
        *,
        sparse: SparseVectors | None = None,
        mode: str,
        feedback: Mapping[str, Hits] = MappingProxyType({}),
        retrieved: Hits | None = None,
        steps: Sequence[Step] = (),
    ) -> None:
        self._snapshot = snapshot
        self._options = options
        self._weights = weights
        self._lists = lists
        self._vectors = vectors
        self._sparse = sparse
        self._mode = mode
        self._feedback = feedback
        self._retrieved = retrieved
        self._steps = steps

    def document(self, segment: int, row: int) -> Document:
        """Return the stored document."""
        return self._snapshot.segments[segment].documents.document(row)

    def passage(self, segment: int, row: int) -> MatchedPassage | None:
        """Return the passage nearest to the query, by vectors where they were searched, else by sparse vectors."""
        if self._vectors is None:
            return self._sparse_passage(segment, row)
        passages = self._snapshot.segments[segment].passages
        if passages is None or not len(passages.of_document(row)):
            return None
        from indexes.dense import best_passage

        found = (best_passage(self._snapshot.dense[segment], row, vector) for vector in self._vectors)
        position, score = max(found, key=lambda best: (best[1], -best[0]))
        return self._matched(segment, row, passages.spans[position], score)

    def _sparse_passage(self, segment: int, row: int) -> MatchedPassage | None:
        store = self._snapshot.segments[segment].sparse
        if self._sparse is None or store is None or not len(store.of_document(row)):
            return None
        position, score = self._snapshot.sparse.best_passage(self._sparse, segment, row)
        return self._matched(segment, row, store.spans[position], score)

    def _matched(self, segment: int, row: int, span: np.ndarray, score: float) -> MatchedPassage:
        start, end = span.tolist()
        text, _ = self._snapshot.segments[segment].documents.full_text(row)
        return MatchedPassage(start, end, text[start:end], score)

    def explain(self, segment: int, row: int, score: float) -> Explanation:
        """Say why the document is in the results."""
        ranks, scores = {}, {}
        for name, hits in self._lists.items():
            at = np.flatnonzero((hits.segments == segment) & (hits.rows == row))
            if len(at):
                ranks[name] = int(at[0]) + 1
                scores[name] = float(hits.scores[at[0]])
        terms = []
        if "bm25" in self._lists:
            searcher = self._snapshot.bm25(self._options.bm25, self._options.unit)
            terms = searcher.explain(self._weights, segment, row)
        return Explanation(
            score,
            self._mode,
            ranks,
            scores,
            terms,
            self.passage(segment, row),
            self._options.aggregate.method,
            self._counted(segment, row),
            self._stages(segment, row),
            self._used(),
        )

    def _used(self) -> list[FeedbackUsed]:
        """Return what became of the query by feedback."""
        return [
            FeedbackUsed(
                label,
                tuple(self._snapshot.ids(hits.segments, hits.rows)),
                dict(sorted(self._weights.items(), key=lambda entry: (-entry[1], entry[0])))
                if label.startswith("bm25")
                else {},
            )
            for label, hits in self._feedback.items()
        ]

    def _counted(self, segment: int, row: int) -> list[CountedPassage]:
        """Return the passages that an aggregate other than the best one is made of, the heaviest first."""
        aggregate, passages = self._options.aggregate, self._snapshot.segments[segment].passages
        if aggregate.method == "max" or self._vectors is None or passages is None:
            return []
        from indexes.dense_aggregation import passage_scores

        start, scores = passage_scores(self._snapshot.dense[segment], row, self._vectors[0])
        order = np.arange(len(scores)) if aggregate.method == "first" else np.argsort(-scores, kind="stable")
        spans = passages.spans[start + order].tolist()
        weights = aggregate.weights(len(scores)).tolist()
        return [
            CountedPassage(begin, end, score, weight)
            for (begin, end), score, weight in zip(spans, scores[order].tolist(), weights, strict=False)
        ]

    def _stages(self, segment: int, row: int) -> Sequence[StageRank]:
        pipeline = self._options.pipeline
        if pipeline is None or self._retrieved is None:
            return ()
        from retrieval.pipeline.order import history

        return history(pipeline.first, self._retrieved, self._steps, segment, row)
