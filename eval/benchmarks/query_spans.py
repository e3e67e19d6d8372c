"""Queries from texts: spans of consecutive words, by length."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from eval.errors import EvaluationError

LENGTHS = {"2-4": (2, 4), "5-10": (5, 10), "11-30": (11, 30)}
"""Numbers of words of a query, both ends included."""

_TRIES = 1000  # for each query that is wanted


def query_spans(
    texts: Sequence[str],
    n: int,
    lengths: tuple[int, int],
    accept: Callable[[str], bool] = bool,
    seed: int = 0,
) -> list[str]:
    """Return n queries: consecutive words of random texts, their number uniform between the two lengths.

    Args:
        texts: what the words are taken from; shorter ones than a drawn length are passed over.
        n: how many.
        lengths: smallest and largest number of words.
        accept: tells whether a span is a query, for instance because it is not of stop words only.
        seed: of the choice.

    Raises:
        EvaluationError: hardly any text is long enough.
    """
    random = np.random.default_rng([seed, *lengths])
    queries: list[str] = []
    for _ in range(_TRIES * n):
        if len(queries) == n:
            return queries
        words = texts[int(random.integers(len(texts)))].split()
        size = int(random.integers(lengths[0], lengths[1] + 1))
        if len(words) < size:
            continue
        first = int(random.integers(len(words) - size + 1))
        query = " ".join(words[first : first + size])
        if accept(query):
            queries.append(query)
    if len(queries) == n:
        return queries
    raise EvaluationError(f"found {len(queries)} spans of {lengths[0]} to {lengths[1]} words, not {n}: texts too short")
