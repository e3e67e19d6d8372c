"""A reranker's scores for many sets of candidates, from as few model calls as its kind allows.

Three kinds, told apart by what the reranker says of itself:

- pointwise: n calls for n candidates. A score depends on the query and the document alone, so each document that is in
  any of the sets is scored once.
- pairwise: has `probabilities` and an `aggregation` over all pairs. Each pair of such documents is compared once, and
  the sets are aggregated from parts of the matrix.
- any other: each set is scored as it is, once, with the scores of the stage before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from retrieval.errors import RerankerError
from retrieval.rerankers.base import Candidates, Reranker, check_scores
from retrieval.results import Hit

Kind = Literal["pointwise", "pairwise", "listwise"]
Head = tuple[int, ...]
"""Documents of one query, as numbers, best first."""

_PROBES = (1, 2, 3, 7, 50, 1_000_000)


def kind_of(reranker: Reranker) -> Kind:
    """Tell how a reranker's scores depend on the set of candidates."""
    if all(reranker.calls(n) == n for n in _PROBES):
        return "pointwise"
    if all(reranker.calls(n) == n * (n - 1) for n in _PROBES) and all(
        hasattr(reranker, name) for name in ("probabilities", "aggregation")
    ):
        return "pairwise"
    return "listwise"


class Scores:
    """The scores of one stage.

    Args:
        name: of the stage, for messages.
        reranker: that of the stage.

    Attributes:
        calls: model calls so far.
        seconds: that they took.
    """

    def __init__(self, name: str, reranker: Reranker) -> None:
        self._name = name
        self._reranker = reranker
        self._kind = kind_of(reranker)
        self.calls = 0
        self.seconds = 0.0

    def score(
        self,
        queries: Sequence[str],
        heads: Sequence[Sequence[tuple[Head, np.ndarray]]],
        documents: Sequence[Sequence[Hit]],
    ) -> list[list[np.ndarray]]:
        """Return the scores of every set of candidates of every query.

        Args:
            queries: their texts.
            heads: for each query sets of candidates, best first, with their (n,) scores in the stage before.
            documents: for each query a hit of each document, by number.

        Returns:
            For each query and each of its sets (n,) float64.

        Raises:
            RerankerError: a score is not finite, or one is missing.
        """
        if self._kind == "listwise":
            return self._listwise(queries, heads, documents)
        pools = [sorted({number for head, _ in sets for number in head}) for sets in heads]
        candidates = [
            _candidates(pool, np.zeros(len(pool)), known) for pool, known in zip(pools, documents, strict=True)
        ]
        asked = [number for number, pool in enumerate(pools) if pool]
        answers = dict(
            zip(
                asked,
                self._ask([queries[number] for number in asked], [candidates[number] for number in asked]),
                strict=True,
            )
        )
        scores = []
        for number, (pool, sets) in enumerate(zip(pools, heads, strict=True)):
            place = {document: position for position, document in enumerate(pool)}
            places = [np.array([place[document] for document in head], np.int64) for head, _ in sets]
            scores.append([self._part(answers[number], chosen) if len(chosen) else np.empty(0) for chosen in places])
        return scores

    def _part(self, answer: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Return the scores of some documents of a pool."""
        if self._kind == "pointwise":
            return answer[chosen]
        reranker: Any = self._reranker
        n = len(chosen)
        pairs = np.argwhere(~np.eye(n, dtype=bool))  # (n * (n - 1), 2)
        return np.asarray(reranker.aggregation.scores(n, pairs, answer[chosen[pairs[:, 0]], chosen[pairs[:, 1]]]))

    def _listwise(
        self,
        queries: Sequence[str],
        heads: Sequence[Sequence[tuple[Head, np.ndarray]]],
        documents: Sequence[Sequence[Hit]],
    ) -> list[list[np.ndarray]]:
        # What such a reranker makes of the scores in the stage before is not known: they are a part of the set.
        keys = [[(number, head, before.tobytes()) for head, before in sets] for number, sets in enumerate(heads)]
        distinct = {
            key: _candidates(head, before, documents[key[0]])
            for of_query, sets in zip(keys, heads, strict=True)
            for key, (head, before) in zip(of_query, sets, strict=True)
            if head
        }
        answers = dict(
            zip(distinct, self._ask([queries[number] for number, *_ in distinct], list(distinct.values())), strict=True)
        )
        return [[answers.get(key, np.empty(0)) for key in of_query] for of_query in keys]

    def _ask(self, queries: list[str], candidates: list[Candidates]) -> list[np.ndarray]:
        """Call the model, and count."""
        if not queries:
            return []
        self.calls += sum(self._reranker.calls(len(given)) for given in candidates)
        began = time.perf_counter()
        reranker: Any = self._reranker
        answers = reranker.probabilities(queries, candidates) if self._kind == "pairwise" else None
        if answers is None:
            answers = reranker.score(queries, candidates)
        self.seconds += time.perf_counter() - began
        if len(answers) != len(queries):
            raise RerankerError(f"reranker {self._name!r} answered {len(answers):,} of {len(queries):,} queries")
        if self._kind == "pairwise":
            return [np.asarray(answer, np.float64) for answer in answers]
        return [
            check_scores(answer, query, given, self._name).copy()
            for answer, query, given in zip(answers, queries, candidates, strict=True)
        ]


def _candidates(head: Sequence[int], before: np.ndarray, documents: Sequence[Hit]) -> Candidates:
    hits = [documents[number] for number in head]
    return Candidates([hit.id for hit in hits], [hit.document.full_text for hit in hits], before.copy())
