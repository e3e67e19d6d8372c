"""Sparse vectors to search: learned ones of SPLADE's published shape, and binary ones of ultra-high dimension.

Everybody can make them anew: they depend on the parameters and the seed alone.

Learned. SPLADE++ leaves about 120 of 30,522 dimensions in a passage and 30 to 45 in a query (Formal et al., 2022, "From
distillation to hard negative sampling"; the 43 real query vectors of TREC DL 2019 have a median of 44). Assumptions:

- popularity of dimensions: Zipf-Mandelbrot, p(rank) ~ (rank + 100)^-1, so that the most frequent ones are in a fifth
  of all documents; a word piece's rank is its place in BERT's vocabulary, which is ordered by frequency;
- topics: a document draws a share of its dimensions from its topic's list of word pieces and the rest from all, so that
  dimensions come together as words do; with a share of 0 all are independent;
- weights: log-normal, rounded to 8-bit impacts, clipped at 1 and 255. The logarithms of the real queries' weights have
  a standard deviation of 1.4, with a tail to the left.

Binary. UHD-BERT (Jang et al., 2021) activates k of n = 81,920 dimensions: here equally many in every document, either
uniformly at random (the overlap of two is then hypergeometric) or in clusters that share a list of dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from indexes.sparse_vectors import SparseVectors

VOCABULARY = 30_522
"""Word pieces of BERT's English vocabulary, which are SPLADE's dimensions."""

_FIRST_WORD = 1996  # of BERT's vocabulary; what comes before are special, unused and single-character pieces
_SHIFT = 100.0
_TOPIC_SIZE = 600
_DRAWS = 4 << 20  # numbers drawn at a time


@dataclass(frozen=True)
class LearnedShape:
    """What learned sparse vectors look like.

    Attributes:
        entries: smallest and largest number of entries of a vector, uniform between them.
        topical: share of the draws that come from the vector's topic; 0 turns topics off.
        n_topics: number of topics, the same for documents and queries of one seed.
        n_dimensions: size of the vocabulary.
        mean_log: mean of the weights' natural logarithm.
        sd_log: its standard deviation.
    """

    entries: tuple[int, int]
    topical: float = 0.6
    n_topics: int = 2_000
    n_dimensions: int = VOCABULARY
    mean_log: float = 3.9
    sd_log: float = 0.9


DOCUMENTS = LearnedShape((80, 160))
QUERIES = LearnedShape((30, 45), sd_log=1.2)


def learned_vectors(n: int, shape: LearnedShape, seed: int = 0, stream: int = 0) -> SparseVectors:
    """Draw learned sparse vectors.

    Args:
        n: how many.
        shape: what they look like.
        seed: of topics and popularity: documents and queries that belong together have the same.
        stream: which vectors: 0 for documents, 1 for queries, say.

    Returns:
        Vectors with uint8 weights.
    """
    random = np.random.default_rng([seed, 1, stream])
    order = popularity_order(shape.n_dimensions)
    cumulative = np.cumsum(1.0 / (np.arange(shape.n_dimensions) + _SHIFT))
    size = min(_TOPIC_SIZE, shape.n_dimensions)
    topics = _drawn(np.random.default_rng([seed, 0]), cumulative, (shape.n_topics, size))
    within = np.cumsum(1.0 / (np.arange(size) + 10.0))
    topic_of = random.integers(shape.n_topics, size=n)

    def draw(rows: np.ndarray, width: int) -> np.ndarray:
        everywhere = _drawn(random, cumulative, (len(rows), width))
        if shape.topical == 0:
            return order[everywhere]
        here = topics[topic_of[rows][:, None], _drawn(random, within, (len(rows), width))]
        return order[np.where(random.random((len(rows), width)) < shape.topical, here, everywhere)]

    wanted = random.integers(shape.entries[0], shape.entries[1] + 1, size=n)
    offsets, dimensions = _distinct(draw, wanted)
    weights = np.exp(random.normal(shape.mean_log, shape.sd_log, len(dimensions)))
    return SparseVectors(offsets, dimensions, np.clip(np.rint(weights), 1, 255).astype(np.uint8))


def popularity_order(n_dimensions: int = VOCABULARY) -> np.ndarray:
    """Return the dimension of each rank of popularity, (n_dimensions,) int32: BERT's words first, its oddments last."""
    first = _FIRST_WORD if n_dimensions > _FIRST_WORD else 0
    return np.roll(np.arange(n_dimensions, dtype=np.int32), -first)


def binary_vectors(
    n: int,
    active: int,
    n_dimensions: int = 81_920,
    *,
    clusters: int | None = None,
    shared: float = 0.5,
    seed: int = 0,
    stream: int = 0,
) -> SparseVectors:
    """Draw binary codes with equally many active dimensions each.

    Args:
        n: how many.
        active: dimensions of each, at most half of all.
        n_dimensions: of the space.
        clusters: None draws every set of dimensions with the same probability. A number makes that many clusters, each
            with a list of twice as many dimensions as a code has; a code draws a share of its own from its cluster's.
        shared: that share.
        seed: of the clusters: documents and queries that belong together have the same.
        stream: which vectors.

    Returns:
        Vectors without weights.

    Raises:
        ValueError: more than half of the dimensions would be active.
    """
    if active > n_dimensions // 2:
        raise ValueError(f"{active:,} of {n_dimensions:,} dimensions are not sparse: at most half can be active")
    random = np.random.default_rng([seed, 3, stream])
    if clusters is not None:
        lists = np.random.default_rng([seed, 2]).integers(n_dimensions, size=(clusters, 2 * active), dtype=np.int32)
        cluster_of = random.integers(clusters, size=n)

    def draw(rows: np.ndarray, width: int) -> np.ndarray:
        uniform = random.integers(n_dimensions, size=(len(rows), width), dtype=np.int32)
        if clusters is None:
            return uniform
        places = random.integers(2 * active, size=(len(rows), width))
        here = lists[cluster_of[rows][:, None], places]
        return np.where(random.random((len(rows), width)) < shared, here, uniform)

    offsets, dimensions = _distinct(draw, np.full(n, active))
    return SparseVectors(offsets, dimensions, None)


def overlap_law(a: int, b: int, n: int) -> tuple[float, float]:
    """Return mean and variance of the overlap of two random codes with a and b of n dimensions: hypergeometric."""
    return a * b / n, a * (b / n) * (1 - b / n) * (n - a) / (n - 1)


def postings_touched(queries: SparseVectors, documents: SparseVectors, n_dimensions: int) -> np.ndarray:
    """Return for each query the length of all its dimensions' lists together, (n_queries,) int64."""
    lengths = np.bincount(documents.dimensions, minlength=n_dimensions)
    total = np.concatenate([[0], np.cumsum(lengths[queries.dimensions])])
    touched: np.ndarray = total[queries.offsets[1:]] - total[queries.offsets[:-1]]
    return touched


def _drawn(random: np.random.Generator, cumulative: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Draw places with the probabilities whose cumulative sum is given."""
    places = np.searchsorted(cumulative, random.random(size) * cumulative[-1], side="right")
    return np.minimum(places, len(cumulative) - 1)


def _distinct(draw: Callable[[np.ndarray, int], np.ndarray], wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw for each row until it has as many different numbers as it wants; returns offsets and ascending numbers.

    A row keeps the first numbers that differ, as if drawn without replacement. One that gets too few is drawn again as
    a whole, with more draws.
    """
    offsets = np.concatenate([[0], np.cumsum(wanted)])
    numbers = np.empty(offsets[-1], np.int32)
    waiting, width = np.arange(len(wanted)), int(wanted.max(initial=0) * 1.25) + 16
    while len(waiting):
        short = []
        for block in np.array_split(waiting, max(1, len(waiting) * width // _DRAWS)):
            drawn = draw(block, width).astype(np.int32, copy=False)
            order = np.argsort(drawn, axis=1, kind="stable")
            ascending = np.take_along_axis(drawn, order, axis=1)
            order[:, 1:][ascending[:, 1:] == ascending[:, :-1]] = (
                width  # a repetition: not the first draw of its number
            )
            last = np.take_along_axis(np.sort(order, axis=1), wanted[block][:, None] - 1, axis=1)
            full = last[:, 0] < width
            kept = (order <= last) & full[:, None]
            places = offsets[block[full]][:, None] + np.cumsum(kept[full], axis=1) - 1
            numbers[places[kept[full]]] = ascending[kept]
            short.append(block[~full])
        waiting, width = np.concatenate(short), 2 * width
    return offsets, numbers
