"""Orders of documents for `reordering`: as they came, shuffled, and three that bring similar documents together."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from indexes.lists import Lists

_HASHES = 3


def heaviest_term_order(lists: Lists, n_terms: int) -> np.ndarray:
    """Order documents by the term that says most about each: largest frequency, or impact, times idf.

    Terms of only one document, or of all, do not count, for they bring none together; documents without others come
    first.
    """
    n = len(lists.offsets) - 1
    frequencies = np.bincount(lists.members, minlength=n_terms)
    idf = np.where(frequencies > 1, np.log(n / np.maximum(frequencies, 1)), 0.0)
    rows = np.repeat(np.arange(n), np.diff(lists.offsets))
    weights = lists.frequencies * idf[lists.members]
    by_weight = np.lexsort((weights, rows))
    by_weight = by_weight[weights[by_weight] > 0]
    heaviest = np.full(n, -1)
    heaviest[rows[by_weight]] = lists.members[by_weight]  # the last one of a row, its heaviest, stays
    return np.argsort(heaviest, kind="stable")


def min_hash_order(lists: Lists, n_terms: int) -> np.ndarray:
    """Order documents by min-hashes of their terms: two share one with the probability of their Jaccard similarity.

    Source: Broder, "On the resemblance and containment of documents", 1997.
    """
    n = len(lists.offsets) - 1
    random, filled = np.random.default_rng(0), np.flatnonzero(np.diff(lists.offsets))
    keys = np.full((_HASHES, n), -1)
    for hashes in keys:
        hashes[filled] = np.minimum.reduceat(random.permutation(n_terms)[lists.members], lists.offsets[filled])
    return np.lexsort(keys[::-1])


def _bisection_order(lists: Lists, n_terms: int) -> np.ndarray:
    from eval.benchmarks.graph_bisection import bisection_order

    return bisection_order(lists, n_terms)


ORDERS: Mapping[str, Callable[[Lists, int], np.ndarray]] = {
    "as they came": lambda lists, _: np.arange(len(lists.offsets) - 1),
    "shuffled": lambda lists, _: np.random.default_rng(0).permutation(len(lists.offsets) - 1),
    "heaviest term": heaviest_term_order,
    "min-hashes": min_hash_order,
    "graph bisection": _bisection_order,
}
"""From documents' terms, and one more than the largest number of a term, to the rows in the order to give them.

Shuffled, for documents may have come in an order that is worth something already.
"""
