"""Reordering a ranked list by a stage's scores, and following a document through all the stages.

A stage scores the head of the list. The head is sorted by these scores, equal ones in the order in which they came;
what the stage did not admit stays below, in its order. A list has one falling row of scores all the same: the head's
are the stage's own, and where the scores below it would stand above the head's lowest, they are all lowered by the same
amount, so that the best of them equals that lowest one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from indexes.hits import Hits


@dataclass(frozen=True)
class StageRank:
    """Where a document stood behind a stage.

    Attributes:
        stage: name of the reranker; of the first stage its text, such as "bm25:1000+dense:1000".
        rank: behind the stage, from 1.
        score: what the stage itself gave the document; None where it did not score it.
        states: whether the score is of the document's stored states, and not of its text.
    """

    stage: str
    rank: int
    score: float | None
    states: bool = False


@dataclass(frozen=True)
class Step:
    """What a stage did to the list of one query.

    Attributes:
        stage: name of the reranker.
        scores: (n,) float64, of the candidates in the order in which they came.
        order: (n,) int64, the places of these candidates in their new order.
        states: whether the scores are of stored states.
    """

    stage: str
    scores: np.ndarray
    order: np.ndarray
    states: bool = False


def best_first(scores: np.ndarray) -> np.ndarray:
    """Return the places of scores, (n,) int64: score descending, equal ones in the order in which they came."""
    return np.argsort(-scores, kind="stable")


def reordered(ranked: Hits, step: Step) -> Hits:
    """Return a ranked list as a stage leaves it.

    Args:
        ranked: all documents, best first.
        step: what the stage decided on the first n of them.

    Returns:
        The same documents. Equal scores are not by sequence number here, but as they were before.
    """
    n = len(step.order)
    if not n:
        return ranked
    head = step.scores[step.order]
    places = np.concatenate([step.order, np.arange(n, len(ranked.rows))])
    scores = np.concatenate([head, lowered(ranked.scores[n:], float(head[-1]))])
    return Hits(ranked.segments[places], ranked.rows[places], scores, ranked.sequences[places])


def lowered(scores: np.ndarray, ceiling: float) -> np.ndarray:
    """Return falling scores moved down by one amount so that none is above the ceiling; as they are if none is.

    Args:
        scores: (n,) float64, finite, falling.
        ceiling: finite.

    Returns:
        (n,) float64, finite and falling. Differences that float64 cannot hold at that height become ties.
    """
    if not len(scores) or scores[0] <= ceiling:
        return scores
    with np.errstate(over="ignore"):
        moved = scores - (scores[0] - ceiling)
    return np.clip(moved, np.finfo(np.float64).min, ceiling)


def history(first_stage: str, retrieved: Hits, steps: Sequence[Step], segment: int, row: int) -> list[StageRank]:
    """Return where a document stood behind each stage.

    Args:
        first_stage: its name.
        retrieved: the list that the first stage returned.
        steps: of the stages behind it, in their order.
        segment: the document's segment.
        row: its row in it.
    """
    found = np.flatnonzero((retrieved.segments == segment) & (retrieved.rows == row))
    if not len(found):
        return []
    place = int(found[0])
    ranks = [StageRank(first_stage, place + 1, float(retrieved.scores[place]))]
    for step in steps:
        score = None
        if place < len(step.order):
            score = float(step.scores[place])
            place = int(np.flatnonzero(step.order == place)[0])
        ranks.append(StageRank(step.stage, place + 1, score, step.states and score is not None))
    return ranks
