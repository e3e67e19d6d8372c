"""What a search returns: hits with their documents, and why they were found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any, Literal, Protocol, overload

from indexes.hits import Hits

if TYPE_CHECKING:
    import numpy as np

    from indexes.bm25 import TermContribution
    from retrieval.documents import Document
    from retrieval.pipeline.order import StageRank
    from retrieval.pipeline.report import StageReport

Mode = Literal["hybrid", "bm25", "dense", "sparse"]


@dataclass(frozen=True)
class MatchedPassage:
    """The passage of a document that is nearest to the query.

    Attributes:
        start: first character in the document's full text (title, space, text).
        end: one past the last character.
        text: what stands there.
        score: its similarity to the query.
    """

    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True)
class CountedPassage:
    """A passage that is part of its document's score, where that is not its best passage's alone.

    Attributes:
        start: first character in the document's full text.
        end: one past the last character.
        score: its similarity to the query.
        weight: what that is multiplied by before the passages are added up.
    """

    start: int
    end: int
    score: float
    weight: float


@dataclass(frozen=True)
class FeedbackUsed:
    """What pseudo-relevance feedback did to a retriever's query.

    Attributes:
        retriever: and its method, such as "bm25(rm3)".
        documents: ids of those that were taken for relevant, best first.
        terms: the query that they made, terms with their weights, the heaviest first; empty for vectors.
    """

    retriever: str
    documents: tuple[str, ...]
    terms: Mapping[str, float]

    def __str__(self) -> str:
        terms = ", ".join(f"{term} {weight:.4g}" for term, weight in self.terms.items())
        asked = f", query {terms}" if terms else ""
        return f"feedback {self.retriever}: documents {', '.join(self.documents) or 'none'}{asked}"


@dataclass(frozen=True)
class Explanation:
    """Why a document is where it is in the results.

    Attributes:
        score: the hit's score.
        mode: what ran: the mode, or the pipeline.
        ranks: rank (from 1) in the list of each retriever that returned the document.
        scores: its score in each of these lists.
        terms: what each query term added to BM25's score; added up one after the other, their scores are it to the last
            bit (the built-in `sum` rounds otherwise from Python 3.12 on).
        passage: the best passage and its similarity, where vectors or sparse vectors were searched.
        aggregate: how the similarities of passages with vectors became one ("max": the best one's).
        counted: what counted where that is not "max": the passages, in the order in which they were added up.
        stages: where the document stood behind each stage of a pipeline, and what the stage gave it; empty without one.
        feedback: what feedback did to the query, for each retriever that has it.
    """

    score: float
    mode: str
    ranks: Mapping[str, int]
    scores: Mapping[str, float]
    terms: Sequence[TermContribution]
    passage: MatchedPassage | None
    aggregate: str = "max"
    counted: Sequence[CountedPassage] = ()
    stages: Sequence[StageRank] = ()
    feedback: Sequence[FeedbackUsed] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return {
            "score": self.score,
            "mode": self.mode,
            "ranks": dict(self.ranks),
            "scores": dict(self.scores),
            "terms": [asdict(term) for term in self.terms],
            "passage": asdict(self.passage) if self.passage else None,
            "aggregate": self.aggregate,
            "counted": [asdict(passage) for passage in self.counted],
            "stages": [asdict(stage) for stage in self.stages],
            "feedback": [asdict(used) for used in self.feedback],
        }

    def __str__(self) -> str:
        lines = [f"score {self.score:.6g} ({self.mode})"]
        lines += [f"  {name}: rank {rank}, score {self.scores[name]:.6g}" for name, rank in self.ranks.items()]
        before = None
        for stage in self.stages:
            moved = f"rank {stage.rank}" if before is None else f"rank {before} -> {stage.rank}"
            scored = "not scored" if stage.score is None else f"score {stage.score:.6g}"
            scored += " by stored states" if stage.states else ""
            lines.append(f"  stage {stage.stage}: {moved}, {scored}")
            before = stage.rank
        lines += [f"  {used}" for used in self.feedback]
        lines += [
            f"  term {term.term!r}: {term.score:.4f} (idf {term.idf:.4f}, {term.frequency:g} times in the document, "
            f"in {term.document_frequency:,} documents, weight {term.weight:g})"
            for term in self.terms
        ]
        if self.passage:
            lines.append(f"  passage {self.passage.start}-{self.passage.end}: similarity {self.passage.score:.4f}")
        lines += [
            f"  counted ({self.aggregate}): passage {passage.start}-{passage.end}, similarity {passage.score:.4f}, "
            f"weight {passage.weight:.4f}"
            for passage in self.counted
        ]
        return "\n".join(lines)


class Evidence(Protocol):
    """What a finished search can still say about its hits; kept by each hit, so that nothing is read in vain."""

    def document(self, segment: int, row: int) -> Document:
        """Return the stored document."""

    def passage(self, segment: int, row: int) -> MatchedPassage | None:
        """Return the passage nearest to the query."""

    def explain(self, segment: int, row: int, score: float) -> Explanation:
        """Say why the document is in the results."""


class Hit:
    """One found document. Its text, metadata and explanation are read when they are asked for.

    Attributes:
        id: the document's id.
        score: higher is better; comparable only within one result.
    """

    __slots__ = ("_evidence", "_row", "_segment", "_stored", "id", "score")

    def __init__(self, document_id: str, score: float, segment: int, row: int, evidence: Evidence) -> None:
        self.id = document_id
        self.score = score
        self._segment = segment
        self._row = row
        self._evidence = evidence
        self._stored: Document | None = None

    @property
    def document(self) -> Document:
        """The stored document."""
        if self._stored is None:
            self._stored = self._evidence.document(self._segment, self._row)
        return self._stored

    @property
    def text(self) -> str:
        """The document's text."""
        return self.document.text

    @property
    def title(self) -> str:
        """The document's title, empty when it has none."""
        return self.document.title

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The document's metadata."""
        return self.document.metadata

    @property
    def passage(self) -> MatchedPassage | None:
        """The passage nearest to the query, by vectors where they were searched, else by sparse vectors; else None."""
        return self._evidence.passage(self._segment, self._row)

    def explain(self) -> Explanation:
        """Say why the document is where it is: terms and weights, similarity, ranks, best passage."""
        return self._evidence.explain(self._segment, self._row, self.score)

    def __repr__(self) -> str:
        return f"Hit(id={self.id!r}, score={self.score:.6g})"


class SearchResults(Sequence[Hit]):
    """Hits, best first: score descending, ties in the order in which the texts came into the collection.

    Behind a reranker, ties are in the order of the stage before it, and documents that it did not admit follow below,
    with scores lowered under those that it did (`Explanation.stages` has what each stage gave). The `Hit`s are made
    when the first of them is asked for; `ids` and `scores` are there without them.

    Args:
        ids: (n,) of the documents.
        found: (n,) the same documents in numbers.
        evidence: what the search can say about them.
        mode: what ran.
        stages: what its stages took.

    Attributes:
        mode: what ran: "hybrid", "bm25", "dense" or "sparse", or a pipeline's text.
        stages: what each stage took, in their order: documents, model calls, seconds.
    """

    def __init__(
        self, ids: list[str], found: Hits, evidence: Evidence, mode: str, stages: Sequence[StageReport] = ()
    ) -> None:
        self._ids = ids
        self._found = found
        self._evidence = evidence
        self.mode = mode
        self.stages = tuple(stages)

    @cached_property
    def ids(self) -> list[str]:
        """The ids, best first."""
        return self._ids.copy()

    @property
    def scores(self) -> np.ndarray:
        """The scores, (n,) float64, read-only: higher is better; comparable only within one result."""
        scores = self._found.scores.view()
        scores.flags.writeable = False
        return scores

    @property
    def found(self) -> Hits:
        """The same documents in numbers, best first; not to be changed."""
        return self._found

    @cached_property
    def _hits(self) -> list[Hit]:
        segments, rows, scores, _ = self._found
        columns = (self._ids, scores.tolist(), segments.tolist(), rows.tolist())
        return list(map(Hit, *columns, repeat(self._evidence)))

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> SearchResults: ...
    def __getitem__(self, index: int | slice) -> Hit | SearchResults:
        if not isinstance(index, slice):
            return self._hits[index]
        found = Hits(*(column[index] for column in self._found))
        part = SearchResults(self._ids[index], found, self._evidence, self.mode, self.stages)
        part._hits = self._hits[index]  # the same objects, with the documents that they have read
        return part

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __repr__(self) -> str:
        return f"SearchResults({self._hits!r}, mode={self.mode!r})"
