"""Pseudo-relevance feedback written out over a table of counts: nothing of the engine is used, no inverted index.

Rows are documents, columns are words in alphabetical order. RM3 and Rocchio are those of Anserini (`Rm3Reranker`,
`RocchioReranker`), in numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

TOLERANCE = 1e-9


class Undecided(Exception):
    """Two sides of a cut are equal but for rounding: any choice is right, and nothing can be compared."""


def bm25(counts: np.ndarray, weights: np.ndarray, k1: float = 1.2, b: float = 0.75) -> np.ndarray:
    """Return each document's score for a query of word weights, (n_documents,)."""
    lengths = counts.sum(axis=1)
    average = lengths.mean() if lengths.any() else 1.0
    holding = (counts > 0).sum(axis=0)
    idf = np.log(1 + (len(counts) - holding + 0.5) / (holding + 0.5))
    norms = k1 * (1 - b + b * lengths / average)
    return (weights * idf * counts / np.maximum(counts + norms[:, None], 1e-300)).sum(axis=1)


def ranked(scores: np.ndarray, allowed: np.ndarray) -> list[int]:
    """Return the rows that score and are allowed, best first, ties by row."""
    rows = [row for row in range(len(scores)) if scores[row] > 0 and allowed[row]]
    return sorted(rows, key=lambda row: (-round(scores[row], 10), row))


def cut(values: np.ndarray, n: int) -> np.ndarray:
    """Keep the n largest values, the first of equal ones, and set the others to 0."""
    order = np.lexsort((np.arange(len(values)), -np.round(values, 10)))
    kept, dropped = order[:n], order[n:]
    for one in kept:
        for other in dropped:
            if values[one] != values[other] and abs(values[one] - values[other]) < TOLERANCE:
                raise Undecided
    result = np.zeros_like(values)
    result[kept] = values[kept]
    return result


def addable(counts: np.ndarray, share: float) -> np.ndarray:
    """Return which words feedback may add: those that are not in too many of the documents."""
    return np.array([Fraction(int(df)) <= Fraction(share) * len(counts) for df in (counts > 0).sum(axis=0)])


def rm3(
    counts: np.ndarray, query: np.ndarray, best: Sequence[int], scores: np.ndarray, terms: int, weight: float,
    share: float,
) -> np.ndarray:  # fmt: skip
    """Return the weights of the expanded query, or the query itself where there is nothing to add."""
    model = np.zeros(counts.shape[1])
    for row in best:
        bag = cut(np.where(addable(counts, share), counts[row], 0).astype(float), terms)
        if bag.sum():
            model += bag / bag.sum() * scores[row]
    model = cut(model, terms)
    if not model.sum() or weight == 1:
        return query.astype(float)
    return weight * query / query.sum() + (1 - weight) * model / model.sum()


def rocchio(
    counts: np.ndarray, query: np.ndarray, best: Sequence[int], last: Sequence[int], terms: int, alpha: float,
    beta: float, gamma: float, share: float,
) -> np.ndarray:  # fmt: skip
    """Return the weights of the moved query, or the query itself where there is nothing to move it."""

    def mean(rows: Sequence[int]) -> np.ndarray:
        bags = [unit(np.where(addable(counts, share), counts[row], 0).astype(float)) for row in rows]
        return unit(cut(np.mean(bags, axis=0), terms)) if bags else np.zeros(counts.shape[1])

    relevant, others = mean(best), mean(last)
    if not (relevant.any() and beta) and not (others.any() and gamma):
        return query.astype(float)
    moved = np.maximum(alpha * unit(query.astype(float)) + beta * relevant - gamma * others, 0)
    return moved if moved.any() else query.astype(float)


def unit(vector: np.ndarray) -> np.ndarray:
    """Return a vector at length 1; zeros stay."""
    length = np.linalg.norm(vector)
    return vector / length if length else vector
