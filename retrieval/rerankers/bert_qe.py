"""BERT-QE: chunks of the best documents are put to a cross-encoder beside the query, which they expand.

Three phases (Zheng et al., Findings of EMNLP 2020, "BERT-QE: Contextualized Query Expansion for Document Re-ranking"):

1. rel(q, d) of every candidate: that of its best passage.
2. The best passages of the best documents are cut into chunks; those with the highest rel(q, c) are kept.
3. rel(q, C, d) = (1 - a) · rel(q, d) + a · sum_i softmax_i(rel(q, c_i)) · rel(c_i, d), where d is its best passage.

Everything is a probability, as in the authors' code; the defaults are its parameters. One model in all phases takes
11.19 times the calls of the first phase where documents are one passage of 100 words; small ones may stand in for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from indexes.aggregation import BEST_PASSAGE
from retrieval.errors import RerankerError
from retrieval.rerankers.base import Candidates, Reranker, check_queries, check_scores
from retrieval.rerankers.passage_scores import PassageScorer
from retrieval.rerankers.splitting import SplitTexts, Splitting, split_candidates


@dataclass(frozen=True)
class Expansion:
    """The parameters of BERT-QE.

    Attributes:
        weight: a, what the chunks count, 0 to 1; tuned in steps of 0.1 in the study. 0 is the first phase alone.
        documents: the best ones, whose chunks are read.
        chunks: kept of all these documents together (kc).
        passages: how candidates are cut in the first phase; `title_words` of 30 is the study's for collections with
            titles.
        chunk: how a best passage is cut in the second; by words or sentences.

    Raises:
        RerankerError: a value is out of its range.
    """

    weight: float = 0.4
    documents: int = 10
    chunks: int = 10
    passages: Splitting = field(default_factory=lambda: Splitting(100, 50))
    chunk: Splitting = field(default_factory=lambda: Splitting(10, 5, most=19))

    def __post_init__(self) -> None:
        if isinstance(self.weight, bool) or not 0 <= self.weight <= 1:
            raise RerankerError(f"the chunks count 0 to 1, not {self.weight!r}")
        for name in ("documents", "chunks"):
            if type(getattr(self, name)) is not int or getattr(self, name) < 1:
                raise RerankerError(f"{name} must be a whole number, at least 1, not {getattr(self, name)!r}")
        if self.chunk.unit == "tokens" or self.chunk.title_words:
            raise RerankerError("chunks are cut from a passage by words or sentences, and have no title")


class _Ranked(NamedTuple):
    """A query's candidates behind the first phase: rel(q, d), and each one's best passage."""

    relevance: np.ndarray
    passages: list[str]


class BertQE:
    """Scores documents by the query and by the chunks of the best documents.

    Which chunks are kept depends on all candidates of the query, as a document's score does; where two chunks are equal
    up to rounding, a batch in other company may keep the other one.

    Args:
        reranker: of the first phase; a pointwise one.
        expansion: the parameters.
        chunk_reranker: of the second phase; by default the first one's.
        feedback_reranker: of the third; by default the first one's. Smaller models save nearly all calls of the large
            one here: BERT-QE-LMT and -LLS.
        probabilities: whether the models' scores become probabilities of relevance; see `PassageScorer`. None for yes
            where it is known how; all three must agree.

    Raises:
        RerankerError: a reranker is not pointwise, or a setting makes no sense.
    """

    def __init__(
        self,
        reranker: Reranker,
        expansion: Expansion | None = None,
        *,
        chunk_reranker: Reranker | None = None,
        feedback_reranker: Reranker | None = None,
        probabilities: bool | None = None,
    ) -> None:
        self._expansion = expansion or Expansion()
        self._phases = [
            PassageScorer(each or reranker, probabilities, "BERT-QE")
            for each in (reranker, chunk_reranker, feedback_reranker)
        ]
        if len({phase.probabilities for phase in self._phases}) > 1:
            raise RerankerError(
                "of some of these rerankers' scores it is known how they become probabilities, of others not: they "
                "cannot be added up; take models, or give probabilities=False"
            )
        self._token_spans = self._phases[0].token_spans(self._expansion.passages)

    @property
    def pointwise(self) -> bool:
        """That a score is not the candidate's own: chunks of the best candidates are part of it."""
        return False

    @property
    def name(self) -> str:
        """The first reranker's name, and that queries are expanded."""
        return f"{self._phases[0].reranker.name} (BERT-QE)"

    def identity(self) -> dict[str, Any]:
        """Return the identities of the three rerankers and the parameters."""
        return {
            "kind": "bert-qe",
            "phases": [phase.identity() for phase in self._phases],
            **asdict(self._expansion),
        }

    def execution(self) -> dict[str, Any]:
        """Return how the three rerankers compute their scores."""
        return {"runtime": "bert-qe", "phases": [phase.reranker.execution() for phase in self._phases]}

    def calls(self, n: int) -> int:
        """Return the inputs of the three phases, if documents and passages have as many pieces as are read."""
        return self._calls(n, n * self._expansion.passages.most)

    def calls_for(self, candidates: Candidates) -> int:
        """Return likewise with the passages that these candidates have; which are cut into chunks is not known."""
        return self._calls(len(candidates), len(set(self._split(candidates).passages)))

    def score(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[np.ndarray]:
        """Return the scores of each query's candidates, (n_i,) float64.

        Raises:
            RerankerError: a score is not finite; the message names query, document and passage.
        """
        check_queries(queries, candidates)
        ranked = self._first_phase(queries, candidates)
        weight = self._expansion.weight
        if weight == 0 or not any(map(len, candidates)):
            found = [each.relevance for each in ranked]
        else:
            chunks, weights = self._second_phase(queries, candidates, ranked)
            expanded = self._third_phase(candidates, ranked, chunks, weights)
            found = [(1 - weight) * each.relevance + weight * own for each, own in zip(ranked, expanded, strict=True)]
        return [
            check_scores(own, query, given, self.name)
            for own, query, given in zip(found, queries, candidates, strict=True)
        ]

    def close(self) -> None:
        """Close all rerankers."""
        for phase in self._phases:
            phase.reranker.close()

    def _calls(self, n: int, n_passages: int) -> int:
        if not n or self._expansion.weight == 0:
            return n_passages
        n_chunks = min(n, self._expansion.documents) * self._expansion.chunk.most
        return n_passages + n_chunks + min(self._expansion.chunks, n_chunks) * n

    def _split(self, candidates: Candidates) -> SplitTexts:
        return split_candidates(candidates, self._expansion.passages, self._token_spans)

    def _first_phase(self, queries: Sequence[str], candidates: Sequence[Candidates]) -> list[_Ranked]:
        splits = [self._split(given) for given in candidates]
        ranked = []
        for scores, split in zip(self._phases[0].score(queries, candidates, splits), splits, strict=True):
            ends = np.append(split.firsts[1:], len(scores))
            best = [first + int(scores[first:end].argmax()) for first, end in zip(split.firsts, ends, strict=False)]
            relevance = BEST_PASSAGE.of_documents(scores, split.firsts)
            ranked.append(_Ranked(relevance, [split.passages[place] for place in best]))
        return ranked

    def _second_phase(
        self, queries: Sequence[str], candidates: Sequence[Candidates], ranked: Sequence[_Ranked]
    ) -> tuple[list[list[str]], list[np.ndarray]]:
        """Return the chunks that are kept for each query, and their weights: softmax of rel(q, c)."""
        best = [
            _best_documents(given, each, self._expansion.documents)
            for given, each in zip(candidates, ranked, strict=True)
        ]
        splits = [split_candidates(documents, self._expansion.chunk, None) for documents in best]
        kept, weights = [], []
        for scores, split in zip(self._phases[1].score(queries, best, splits), splits, strict=True):
            # A chunk that several documents share stands once: equal texts have equal scores.
            distinct = {split.passages[place]: scores[place] for place in _best_first(scores).tolist()}
            kept.append(list(distinct)[: self._expansion.chunks])
            weights.append(_softmax(np.array(list(distinct.values())[: self._expansion.chunks], np.float64)))
        return kept, weights

    def _third_phase(
        self,
        candidates: Sequence[Candidates],
        ranked: Sequence[_Ranked],
        chunks: Sequence[Sequence[str]],
        weights: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Return sum_i softmax_i(rel(q, c_i)) · rel(c_i, d) of each query's candidates, (n_i,)."""
        owners = [number for number, own in enumerate(chunks) for _ in own]
        asked = [chunk for own in chunks for chunk in own]
        splits = [SplitTexts(ranked[number].passages, np.arange(len(candidates[number]))) for number in owners]
        found = self._phases[2].score(asked, [candidates[number] for number in owners], splits)
        expanded = [np.zeros(len(given)) for given in candidates]
        for number, weight, scores in zip(owners, np.concatenate(weights).tolist(), found, strict=True):
            expanded[number] += weight * scores
        return expanded


def _best_documents(candidates: Candidates, ranked: _Ranked, n: int) -> Candidates:
    """Return the best passages of the n best documents."""
    order = _best_first(ranked.relevance)[:n].tolist()
    return Candidates(
        [candidates.ids[place] for place in order], [ranked.passages[place] for place in order], ranked.relevance[order]
    )


def _best_first(scores: np.ndarray) -> np.ndarray:
    return np.argsort(-scores, kind="stable")


def _softmax(scores: np.ndarray) -> np.ndarray:
    if not len(scores):
        return scores
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()
