"""A reranker's scores for many sets of candidates, from as few model calls as its kind allows.

Three kinds, told apart by what the reranker says of itself:

- pointwise: n calls for n candidates, or a property `pointwise` says so. A score depends on the query and the document
  alone, so each document that is in any of the sets is scored once.
- pairwise: has `probabilities` and an `aggregation` over all pairs. Sets are joined where that takes fewer comparisons
  than they do by themselves, each pair of a joined set is compared once, and the sets are aggregated from parts of the
  matrix.
- any other: each set is scored as it is, once, with the scores of the stage before. Of inputs that several sets have in
  common a model may compute one only; calls are then fewer, and single searches slower, than is reported.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from retrieval.errors import RerankerError
from retrieval.rerankers.base import PROBES, Candidates, Reranker, calls_for, check_answers, check_scores, is_pointwise
from retrieval.results import Hit

Kind = Literal["pointwise", "pairwise", "listwise"]
Head = tuple[int, ...]
"""Documents of one query, as numbers, best first."""


def kind_of(reranker: Reranker) -> Kind:
    """Tell how a reranker's scores depend on the set of candidates."""
    if is_pointwise(reranker):
        return "pointwise"
    if all(reranker.calls(n) == n * (n - 1) for n in PROBES) and all(
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
        calls: model calls so far, by the reranker's own count (`base.calls_for`).
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
        pools = [self._pools([head for head, _ in sets]) for sets in heads]
        answers = self._of_pools(queries, pools, documents)
        scores = []
        for of_query, answered, sets in zip(pools, answers, heads, strict=True):
            places = [{document: place for place, document in enumerate(pool)} for pool in of_query]
            own = []
            for head, _ in sets:
                if not head:
                    own.append(np.empty(0))
                    continue
                holding = next(number for number, pool in enumerate(places) if pool.keys() >= set(head))
                chosen = np.array([places[holding][document] for document in head], np.int64)
                own.append(self._part(answered[holding], chosen))
            scores.append(own)
        return scores

    def calls_of(
        self, heads: Sequence[Sequence[tuple[Head, np.ndarray]]], documents: Sequence[Sequence[Hit]]
    ) -> list[list[int]]:
        """Return the model calls of every set of candidates of every query, if a search had it alone.

        Args:
            heads: as for `score`.
            documents: likewise.
        """
        known: dict[tuple[int, Head, bytes], int] = {}
        counts: list[list[int]] = []
        for number, sets in enumerate(heads):
            counts.append([])
            for head, before in sets:
                key = (number, head, before.tobytes())
                if head and key not in known:  # settings share many of their lists, and counting may read the texts
                    known[key] = calls_for(self._reranker, _candidates(head, before, documents[number]))
                counts[-1].append(known.get(key, 0))
        return counts

    def _pools(self, heads: Sequence[Head]) -> list[list[int]]:
        """Return sets of documents, ascending, such that each head lies in one: what the model is asked about."""
        if self._kind == "pairwise":
            return [sorted(pool) for pool in joined_sets(heads)]
        pool = sorted({document for head in heads for document in head})
        return [pool] if pool else []

    def _of_pools(
        self, queries: Sequence[str], pools: Sequence[Sequence[list[int]]], documents: Sequence[Sequence[Hit]]
    ) -> list[list[np.ndarray]]:
        """Return the model's answer for each pool of each query."""
        answers: list[list[np.ndarray]] = [[] for _ in queries]
        # The first pools of all queries together, then the second ones: a model that finds equal inputs among those
        # that it is given would make fewer calls for two pools of one query than it says, and times would be too good.
        for turn in range(max(map(len, pools), default=0)):
            asked = [number for number, of_query in enumerate(pools) if len(of_query) > turn]
            found = self._ask(
                [queries[number] for number in asked],
                [
                    _candidates(pools[number][turn], np.zeros(len(pools[number][turn])), documents[number])
                    for number in asked
                ],
            )
            for number, answer in zip(asked, found, strict=True):
                answers[number].append(answer)
        return answers

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
        self.calls += sum(calls_for(self._reranker, given) for given in candidates)
        began = time.perf_counter()
        reranker: Any = self._reranker
        answers = reranker.probabilities(queries, candidates) if self._kind == "pairwise" else None
        if answers is None:
            answers = reranker.score(queries, candidates)
        self.seconds += time.perf_counter() - began
        answers = check_answers(answers, len(queries), self._name)
        if self._kind == "pairwise":
            return [
                _checked_matrix(answer, query, len(given), self._name)
                for answer, query, given in zip(answers, queries, candidates, strict=True)
            ]
        return [
            check_scores(answer, query, given, self._name).copy()
            for answer, query, given in zip(answers, queries, candidates, strict=True)
        ]


def joined_sets(heads: Sequence[Head]) -> list[frozenset[int]]:
    """Return sets of documents such that each head that is not empty lies in one, with few ordered pairs in all.

    Heads of one order lie in each other; those of different orders share many documents, or few. Greedily, the largest
    first: a head joins the set with which it saves most pairs, or is one of its own where it would save none. There are
    never more pairs than in the distinct heads by themselves, nor than in all documents together.
    """
    joined: list[frozenset[int]] = []
    distinct = dict.fromkeys(frozenset(head) for head in heads if head)
    for head in sorted(distinct, key=len, reverse=True):
        saved = [_n_pairs(one) + _n_pairs(head) - _n_pairs(one | head) for one in joined]
        best = int(np.argmax(saved)) if saved else -1
        if best >= 0 and saved[best] >= 0:
            joined[best] |= head
        else:
            joined.append(head)
    together = frozenset().union(*distinct)
    return [together] if joined and _n_pairs(together) <= sum(map(_n_pairs, joined)) else joined


def _n_pairs(documents: frozenset[int]) -> int:
    return len(documents) * (len(documents) - 1)


def _checked_matrix(answer: Any, query: str, n: int, name: str) -> np.ndarray:
    """Return what a pairwise reranker says of one query's documents, (n, n) float64; the diagonal is not read."""
    matrix = np.asarray(answer, np.float64)
    if matrix.shape != (n, n):
        raise RerankerError(
            f"reranker {name!r} returned probabilities of shape {matrix.shape}, expected ({n}, {n}): one for each pair"
        )
    broken = np.argwhere(~np.isfinite(matrix) & ~np.eye(n, dtype=bool))
    if len(broken):
        raise RerankerError(
            f"reranker {name!r} returned {matrix[tuple(broken[0])]} for a pair of documents and query {query[:80]!r} "
            f"({len(broken):,} of its {n * (n - 1):,} probabilities are not finite)"
        )
    return matrix


def _candidates(head: Sequence[int], before: np.ndarray, documents: Sequence[Hit]) -> Candidates:
    hits = [documents[number] for number in head]
    titles = [len(hit.document.title) for hit in hits]
    return Candidates([hit.id for hit in hits], [hit.document.full_text for hit in hits], before.copy(), titles)
