"""Scores of candidates: by a reranker, by the similarities of an encoder, by BM25, or as the first stage had them."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eval.candidates import CandidateList
from eval.errors import TaskError
from eval.tasks.text_vectors import TextVectors
from indexes.vectors import normalise
from retrieval.rerankers.base import Candidates, check_answers, check_scores, is_pointwise

if TYPE_CHECKING:
    from retrieval.collection import Collection
    from retrieval.encoders import Encoder
    from retrieval.rerankers.base import Reranker

_PAIRS_AT_ONCE = 4096
"""Candidates that are scored together: enough for full batches, few enough for memory."""


class Scorer(ABC):
    """Gives candidates their scores.

    Attributes:
        counts: of what was not as it should be.
    """

    counts: dict[str, int]

    @property
    def pointwise(self) -> bool:
        """Whether a score is the candidate's own, so that a query's candidates may come in parts."""
        return True

    @abstractmethod
    def score(self, lists: Sequence[CandidateList]) -> list[np.ndarray]:
        """Return one (n_i,) array for each list, higher is better, in the order of its candidates."""


class FirstStage(Scorer):
    """The scores that the candidates came with."""

    def __init__(self) -> None:
        self.counts = {}

    def score(self, lists: Sequence[CandidateList]) -> list[np.ndarray]:
        """Return the scores of the stage before."""
        return [each.candidates.scores for each in lists]


class RerankerScores(Scorer):
    """A reranker's scores."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker
        self.counts = {}

    @property
    def pointwise(self) -> bool:
        """Whether the reranker says so."""
        return is_pointwise(self._reranker)

    def score(self, lists: Sequence[CandidateList]) -> list[np.ndarray]:
        """Return what the reranker says.

        Raises:
            RerankerError: it did not give one finite score for each candidate.
        """
        queries = [each.query for each in lists]
        answers = self._reranker.score(queries, [each.candidates for each in lists])
        return [
            check_scores(scores, each.query, each.candidates, self._reranker.name)
            for scores, each in zip(check_answers(answers, len(lists), self._reranker.name), lists, strict=True)
        ]


class Similarities(Scorer):
    """Similarities of an encoder's vectors, by what it compares them with."""

    def __init__(self, encoder: Encoder, progress: bool = False) -> None:
        self._encoder = encoder
        self._queries = TextVectors(encoder, side="queries", progress=progress)
        self._passages = TextVectors(encoder, side="passages", progress=progress)
        self.counts = {}

    def score(self, lists: Sequence[CandidateList]) -> list[np.ndarray]:
        """Return the similarities; equal texts get equal ones, in any company."""
        queries = self._queries.encode([each.query for each in lists])  # (n_queries, d)
        passages = self._passages.encode([text for each in lists for text in each.candidates.texts])  # (n_pairs, d)
        if self._encoder.similarity == "cosine":
            queries, passages = normalise(queries), normalise(passages)
        self.counts = {
            "cut queries": self._queries.counts["cut texts"],
            "cut texts": self._passages.counts["cut texts"],
        }
        ends = np.cumsum([len(each.candidates) for each in lists])[:-1]
        # Each row by itself and in 64 bits: a matrix product may round equal rows differently, and so order them.
        return [
            np.einsum("nd,d->n", part.astype(np.float64), query.astype(np.float64))
            for part, query in zip(np.split(passages, ends), queries, strict=True)
        ]


class LexicalScores(Scorer):
    """BM25 with the statistics of all candidates' texts, each counted once.

    Args:
        lists: all candidates there are.
        workspace: where the index lies while it is needed.
        options: passed on to the searches: bm25= and so on.

    Raises:
        TaskError: the workspace cannot be used.
    """

    def __init__(self, lists: Iterable[CandidateList], workspace: Path, options: dict[str, object]) -> None:
        from retrieval.collection import Collection
        from retrieval.documents import Document

        self.counts = {}
        self._options = {name: value for name, value in options.items() if name != "mode"}
        self._ids = {text: str(n) for n, text in enumerate(dict.fromkeys(_texts(lists)))}
        try:
            workspace.mkdir(parents=True, exist_ok=True)
            self._folder = tempfile.TemporaryDirectory(dir=workspace, prefix="bm25-")
        except OSError as fault:
            raise TaskError(f"cannot write below {workspace}: {fault.strerror or fault}") from None
        self._collection: Collection = Collection.create(Path(self._folder.name) / "passages", encoder=None)
        self._collection.add(Document(name, text) for text, name in self._ids.items() if text.strip())

    def score(self, lists: Sequence[CandidateList]) -> list[np.ndarray]:
        """Return BM25's scores; 0 for a passage that shares no term with the query."""
        return [self._scores(each) for each in lists]

    def close(self) -> None:
        """Remove the index."""
        self._collection.close()
        self._folder.cleanup()

    def _scores(self, each: CandidateList) -> np.ndarray:
        if not each.query.strip() or not len(self._collection):
            return np.zeros(len(each.candidates))
        hits = self._collection.search(each.query, k=len(self._collection), mode="bm25", **self._options)  # type: ignore[arg-type]
        found = {hit.id: hit.score for hit in hits}
        return np.array([found.get(self._ids[text], 0.0) for text in each.candidates.texts], np.float64)


def in_blocks(lists: Iterable[CandidateList]) -> Iterator[list[CandidateList]]:
    """Gather lists until they hold some thousands of candidates."""
    block: list[CandidateList] = []
    for each in lists:
        block.append(each)
        if sum(len(one.candidates) for one in block) >= _PAIRS_AT_ONCE:
            yield block
            block = []
    if block:
        yield block


def best_first(each: CandidateList, scores: np.ndarray) -> CandidateList:
    """Return candidates in the order of scores, which become those of the stage before."""
    order = np.argsort(-scores, kind="stable").tolist()
    given = each.candidates
    titles = [given.title_lengths[row] for row in order] if given.title_lengths else ()
    candidates = Candidates(
        [given.ids[row] for row in order], [given.texts[row] for row in order], scores[order], titles
    )
    return CandidateList(each.query_id, each.query, candidates)


def _texts(lists: Iterable[CandidateList]) -> Iterator[str]:
    for each in lists:
        yield from each.candidates.texts
