"""From how documents compare with each other, two by two, to one score for each.

`p[i, j]` is the probability that document i is more relevant than document j. Source: Nogueira, Yang, Cho and Lin
(2019), "Multi-Stage Document Ranking with BERT", arXiv 1910.14424, section 3.3; the symmetric sum is that of duoT5 in
the PyGaggle library.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from retrieval.errors import RerankerError

Method = Literal["sum", "binary", "min", "max", "sample", "symmetric-sum"]
METHODS: tuple[Method, ...] = get_args(Method)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Aggregation:
    """Which documents are compared, and what score comes of it.

    - "sum": s_i = sum over j of p_ij.
    - "binary": the number of j with p_ij > 0.5; ties by "sum".
    - "min": the smallest p_ij, against the strongest competitor; "max": the largest, against the weakest.
    - "sample": as "sum", over m documents j that are drawn for each i: n·m comparisons instead of n·(n - 1).
    - "symmetric-sum": every p_ij adds itself to s_i and 1 - p_ij to s_j.

    What is drawn depends on seed, query and ids alone: the same candidates in another order get the same scores.

    Attributes:
        method: one of `METHODS`.
        m: documents that each is compared with, for "sample" alone.
        seed: of "sample".

    Raises:
        RerankerError: there is no such method, or m does not go with it.
    """

    method: Method = "sum"
    m: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise RerankerError(f"unknown aggregation {self.method!r}: one of {', '.join(METHODS)}")
        if self.method == "sample" and (not isinstance(self.m, int) or self.m < 1):
            raise RerankerError(f"aggregation 'sample' needs m of at least 1, not {self.m!r}")
        if self.method != "sample" and self.m is not None:
            raise RerankerError(f"m is for aggregation 'sample', not for {self.method!r}")

    def calls(self, n: int) -> int:
        """Return the comparisons of n documents: n·(n - 1), or n·m where that is less; none for a single document."""
        others = max(n - 1, 0)
        return n * (others if self.m is None else min(self.m, others))

    def pairs(self, query: str, ids: Sequence[str]) -> np.ndarray:
        """Return the ordered pairs (i, j) that are compared, (calls, 2) int64, ascending.

        Args:
            query: of the documents.
            ids: of the documents, each once.
        """
        compared = ~np.eye(len(ids), dtype=bool)
        if self.m is not None and self.m < len(ids) - 1:
            draws = _random_order(self.seed, query, ids)  # (n, n) uint64
            draws[~compared] = np.iinfo(np.uint64).max
            drawn = np.argsort(draws, axis=1, kind="stable")[:, : self.m]
            compared = np.zeros_like(compared)
            np.put_along_axis(compared, drawn, values=True, axis=1)
        return np.argwhere(compared)

    def scores(self, n: int, pairs: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
        """Return the score of each document, (n,) float64, higher is better.

        Values are added in ascending order, so that the documents in another order get exactly the same scores.

        Args:
            n: documents.
            pairs: (c, 2) int64, those compared, as `pairs` returns them.
            probabilities: (c,) float64, p of each pair.
        """
        matrix = np.full((n, n), np.nan)
        matrix[pairs[:, 0], pairs[:, 1]] = probabilities
        return aggregate(matrix, self.method)

    def describe(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return {"method": self.method, **({"m": self.m, "seed": self.seed} if self.method == "sample" else {})}


def aggregate(matrix: np.ndarray, method: Method) -> np.ndarray:
    """Return one score for each document.

    Args:
        matrix: (n, n) float64, p_ij; NaN where i and j were not compared. The diagonal is not read.
        method: one of `METHODS`.

    Returns:
        (n,) float64; 0 for a document that was compared with none.
    """
    matrix = np.array(matrix, np.float64)
    np.fill_diagonal(matrix, np.nan)
    compared = ~np.isnan(matrix)
    none = ~compared.any(axis=1)
    if method in ("min", "max"):
        worst = np.inf if method == "min" else -np.inf
        values = np.where(compared, matrix, worst)
        found = values.min(axis=1, initial=np.inf) if method == "min" else values.max(axis=1, initial=-np.inf)
        return np.where(none, 0.0, found)
    sums = _row_sums(np.where(compared, matrix, 0.0))
    if method == "binary":
        # A sum of at most n - 1 values up to 1, over n, is below 1: it decides between equal counts and nothing else.
        return (compared & (matrix > 0.5)).sum(axis=1) + sums / max(len(matrix), 1)
    if method == "symmetric-sum":
        return sums + _row_sums(np.where(compared, 1.0 - matrix, 0.0).T)
    return sums


def _row_sums(values: np.ndarray) -> np.ndarray:
    # By a running sum over sorted values: the sum of a row does not depend on the order of the columns.
    return np.cumsum(np.sort(values, axis=1), axis=1)[:, -1] if values.size else np.zeros(len(values))


def _random_order(seed: int, query: str, ids: Sequence[str]) -> np.ndarray:
    """Return pseudorandom numbers for the ordered pairs of documents, (n, n) uint64."""
    first = np.array([_hash(f"{seed}\0i\0{query}\0{name}") for name in ids], np.uint64)
    second = np.array([_hash(f"{seed}\0j\0{query}\0{name}") for name in ids], np.uint64)
    # The finaliser of SplitMix64 (Steele, Lea and Flood, 2014) over the combined hashes; uint64 wraps around.
    mixed = (first[:, None] * _GOLDEN) ^ second[None, :]
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
