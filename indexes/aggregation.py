"""From the scores of a document's passages to its own: the best one, the first one, a mean or a decaying sum.

FirstP and MaxP are Dai and Callan's (SIGIR 2019), the mean of the best m is KMaxAvgP (Zhang, Yates and Lin, ECIR 2021,
"Comparing Score Aggregation Approaches for Document Retrieval with Pretrained Transformers"); both were used with
cross-encoders, whose scores count here as those of vectors do.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import Literal, get_args

import numpy as np

from indexes.errors import VectorError

AggregationMethod = Literal["max", "first", "mean", "decayed"]


@dataclass(frozen=True)
class Aggregation:
    """How the scores of a document's passages become its score.

    Attributes:
        method: "max" takes the best passage's, "first" the first passage's; "mean" is the mean of the `best` highest,
            of all where there are fewer; "decayed" is the sum of all, highest first, each times `decay` to the power of
            its rank (from 0), so that it grows with the number of passages.
        best: passages that count for "mean", at least 1.
        decay: for "decayed", 0 to 1; 0 is "max", 1 the plain sum.

    Raises:
        VectorError: a value is out of its range.
    """

    method: AggregationMethod = "max"
    best: int = 3
    decay: float = 0.5

    def __post_init__(self) -> None:
        if self.method not in get_args(AggregationMethod):
            known = ", ".join(map(repr, get_args(AggregationMethod)))
            raise VectorError(f"unknown aggregation of passages {self.method!r}: one of {known}")
        if type(self.best) is not int or self.best < 1:
            raise VectorError(f"best must be a whole number, at least 1, not {self.best!r}")
        if isinstance(self.decay, bool) or not isinstance(self.decay, Real) or not 0 <= self.decay <= 1:
            raise VectorError(f"decay must be between 0 and 1, not {self.decay!r}")

    def weights(self, n_passages: int) -> np.ndarray:
        """Return what each of so many passages counts, highest score first (in the text's order for "first"); float64.

        Those behind the last one that counts are left out.
        """
        if self.method in ("max", "first"):
            return np.ones(min(n_passages, 1))
        if self.method == "mean":
            counted = min(self.best, n_passages)
            return np.full(counted, 1.0 / max(counted, 1))
        weights = self.decay ** np.arange(n_passages, dtype=np.float64)
        return weights[weights > 0]

    def gain(self, n_passages: int) -> float:
        """Return how much a document's score can change when each of its passages' scores changes by at most one."""
        return float(self.weights(n_passages).sum())

    def of_documents(self, scores: np.ndarray, firsts: np.ndarray) -> np.ndarray:
        """Return the score of each document.

        It depends on the scores of its own passages alone, to the bit: they are added one by one, highest first.

        Args:
            scores: (n_passages,) of all passages, those of a document next to each other, in the text's order.
            firsts: (n_documents,) int64, where each document's begin, ascending; the first at 0, none empty.

        Returns:
            (n_documents,) float64.
        """
        scores = np.asarray(scores, np.float64)
        if not len(firsts) or self.method == "first":
            return scores[firsts]
        if self.method == "max":
            return np.maximum.reduceat(scores, firsts)
        counts = np.diff(firsts, append=len(scores))
        ranked = scores[np.lexsort((-scores, np.repeat(np.arange(len(firsts)), counts)))]
        totals = np.zeros(len(firsts))
        left = np.arange(len(firsts))
        for rank in range(self.best if self.method == "mean" else int(counts.max())):
            left = left[counts[left] > rank]
            weight = 1.0 if self.method == "mean" else self.decay**rank
            if not len(left) or weight == 0:
                break
            totals[left] += weight * ranked[firsts[left] + rank]
        return totals / np.minimum(counts, self.best) if self.method == "mean" else totals


BEST_PASSAGE = Aggregation()
"""The usual score of a document: that of its best passage."""
