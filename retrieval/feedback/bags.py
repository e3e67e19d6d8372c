"""RM3 and Rocchio on bags: mappings from a term, or a dimension, to its weight.

Sums run over documents in the order of their ranks, and where weights are equal the smaller key comes first: the same
documents give the same bits, however they are spread over segments.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key", str, int)

SMALLEST = 1e-100
"""Weights of a query below this are left out: an index refuses them."""


def heaviest(bag: Mapping[Key, float], n: int) -> dict[Key, float]:
    """Return the n heaviest entries of a bag, the heaviest first."""
    return dict(heapq.nsmallest(n, bag.items(), key=lambda entry: (-entry[1], entry[0])))


def relevance_model(bags: Sequence[Mapping[Key, float]], scores: Sequence[float], n_terms: int) -> dict[Key, float]:
    """Return RM1's probabilities of the heaviest terms, which add up to 1; empty without any.

    Args:
        bags: of the feedback documents, frequencies.
        scores: of these documents, at least 0.
        n_terms: terms that each document gives, and that are kept.
    """
    model: dict[Key, float] = {}
    for bag, score in zip(bags, scores, strict=True):
        kept = heaviest(bag, n_terms)
        total = math.fsum(kept.values())
        for key, frequency in kept.items():
            model[key] = model.get(key, 0.0) + frequency / total * score
    kept = heaviest(model, n_terms)
    total = math.fsum(kept.values())
    return {key: weight / total for key, weight in kept.items()} if total > 0 else {}


def interpolated(query: Mapping[Key, float], model: Mapping[Key, float], weight: float) -> dict[Key, float]:
    """Return weight * query + (1 - weight) * model, the query scaled to a sum of 1; as it is without a model."""
    if not model or weight == 1:
        return dict(query)
    total = math.fsum(query.values())
    mixed = {key: weight * value / total for key, value in query.items()}
    for key, value in model.items():
        mixed[key] = mixed.get(key, 0.0) + (1 - weight) * value
    return _counted(mixed)


def mean_direction(bags: Sequence[Mapping[Key, float]], n_terms: int) -> dict[Key, float]:
    """Return the mean of bags of length 1, of it the heaviest entries, scaled to length 1; empty without any."""
    mean: dict[Key, float] = {}
    for bag in bags:
        for key, value in of_length_one(bag).items():
            mean[key] = mean.get(key, 0.0) + value / len(bags)
    return of_length_one(heaviest(mean, n_terms))


def moved(
    query: Mapping[Key, float],
    relevant: Mapping[Key, float],
    others: Mapping[Key, float],
    *,
    alpha: float,
    beta: float,
    gamma: float,
) -> dict[Key, float]:
    """Return alpha * query + beta * relevant - gamma * others, the query of length 1, what is above 0 of it.

    Without anything to move it, or where nothing would be left, the query is returned as it is.
    """
    if not (relevant and beta) and not (others and gamma):
        return dict(query)
    result = {key: alpha * value for key, value in of_length_one(query).items()}
    for factor, bag in ((beta, relevant), (-gamma, others)):
        for key, value in bag.items():
            result[key] = result.get(key, 0.0) + factor * value
    return _counted(result) or dict(query)


def of_length_one(bag: Mapping[Key, float]) -> dict[Key, float]:
    """Return a bag scaled to Euclidean length 1; an empty one stays empty."""
    length = math.sqrt(math.fsum(value * value for value in bag.values()))
    return {key: value / length for key, value in bag.items()} if length > 0 else {}


def _counted(bag: Mapping[Key, float]) -> dict[Key, float]:
    return {key: value for key, value in bag.items() if value >= SMALLEST}
