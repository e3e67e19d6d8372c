"""From tuples to scores of their pairs of query and passage, each pair once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from retrieval.distillation.unscored import Unscored
from retrieval.rerankers.base import Candidates, Reranker, check_answers, check_scores

REMEMBERED = 1 << 20
"""Positives whose scores are in memory, some 200 bytes each; MS MARCO's triples have half as many."""


class PositiveScores:
    """The scores of the latest positives: in triples a positive comes again with each of its negatives.

    Args:
        limit: pairs of query and positive that are remembered; the one that came first is forgotten first.
    """

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._scores: dict[bytes, float] = {}

    def add(self, tuples: Sequence[Unscored], scores: Sequence[float]) -> None:
        """Remember the scores of the positives of tuples."""
        for given, score in zip(tuples, scores, strict=True):
            self._scores.setdefault(_key(given.query, given.passages[0]), score)
            if len(self._scores) > self._limit:
                del self._scores[next(iter(self._scores))]

    def get(self, query: str, passage: str) -> float | None:
        """Return the score of a pair; None where it is not remembered."""
        return self._scores.get(_key(query, passage))


def _key(query: str, passage: str) -> bytes:
    digest = hashlib.blake2b(query.encode("utf-8", "surrogatepass") + b"\0", digest_size=16)
    digest.update(passage.encode("utf-8", "surrogatepass"))
    return digest.digest()


def score_window(
    teacher: Reranker, tuples: Sequence[Unscored], positives: PositiveScores
) -> tuple[list[tuple[float, ...]], int]:
    """Score tuples: each distinct pair of query and passage goes to the teacher once, all of them together.

    Args:
        teacher: scores.
        tuples: any number.
        positives: scores that are known already; those of these tuples are added.

    Returns:
        The scores of each tuple's passages; and the number of pairs that the teacher scored.

    Raises:
        RerankerError: a score is missing or not finite.
    """
    scores: dict[tuple[str, str], float] = {}
    asked: dict[str, list[str]] = {}
    for given in tuples:
        for passage in given.passages:
            if (given.query, passage) in scores:
                continue
            known = positives.get(given.query, passage)
            scores[given.query, passage] = np.nan if known is None else known
            if known is None:
                asked.setdefault(given.query, []).append(passage)
    queries = list(asked)
    candidates = [
        Candidates([str(number) for number in range(len(passages))], passages, np.zeros(len(passages)))
        for passages in asked.values()
    ]
    answers = check_answers(teacher.score(queries, candidates), len(queries), teacher.name) if queries else []
    for query, found, passages in zip(queries, answers, candidates, strict=True):
        checked = check_scores(found, query, passages, teacher.name).tolist()
        scores.update(((query, text), score) for text, score in zip(passages.texts, checked, strict=True))
    of_tuples = [tuple(scores[given.query, passage] for passage in given.passages) for given in tuples]
    positives.add(tuples, [found[0] for found in of_tuples])
    return of_tuples, sum(map(len, candidates))
