"""Sparse vectors in plain dictionaries, and what a search must find, by scoring every document in plain Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from indexes.hits import Hits
from indexes.sparse import SparseIndex, SparseIndexWriter, SparseVectors

Vector = Mapping[int, float]


def vectors_of(vectors: Sequence[Vector], dtype: type | None = np.uint8) -> SparseVectors:
    """Return vectors as flat arrays; without weights if the type is None."""
    offsets = np.cumsum([0, *(len(vector) for vector in vectors)])
    dimensions = np.array([dimension for vector in vectors for dimension in sorted(vector)], np.int32)
    if dtype is None:
        return SparseVectors(offsets, dimensions)
    return SparseVectors(offsets, dimensions, np.array([v[d] for v in vectors for d in sorted(v)], dtype))


def dictionaries(vectors: SparseVectors) -> list[dict[int, float]]:
    """Return the opposite of `vectors_of`."""
    dimensions = vectors.dimensions.tolist()
    weights = [1] * len(dimensions) if vectors.weights is None else vectors.weights.tolist()
    begins, ends = vectors.offsets[:-1].tolist(), vectors.offsets[1:].tolist()
    return [dict(zip(dimensions[a:b], weights[a:b], strict=True)) for a, b in zip(begins, ends, strict=True)]


def saved(directory: Path, vectors: SparseVectors, cuts: Sequence[int] = ()) -> SparseIndex:
    """Write vectors, in blocks that end at the cuts, and open the index; binary ones are those without weights."""
    directory.mkdir(parents=True, exist_ok=True)
    with SparseIndexWriter(directory, "binary" if vectors.weights is None else "impacts") as writer:
        for first, last in zip((0, *cuts), (*cuts, len(vectors)), strict=True):
            writer.add_many(vectors.some(first, last))
    return SparseIndex.open(directory)


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def score(document: Vector, query: Vector, dimension_weights: Sequence[float] = ()) -> float:
    """Add up the products in the order of the dimensions, in float64."""
    total = 0.0
    for dimension in sorted(query):
        weight = float(query[dimension])
        if dimension < len(dimension_weights):
            weight *= float(dimension_weights[dimension])
        if dimension in document:
            total += weight * document[dimension]
    return total


def expected(
    segments: Sequence[Sequence[Vector]],
    query: Vector,
    k: int,
    sequences: Sequence[Sequence[int]],
    allowed: Sequence[Sequence[bool]] | None = None,
    dimension_weights: Sequence[float] = (),
) -> list[tuple[int, int, float]]:
    """Return the best documents, (segment, row, score): by score descending, then by sequence number."""
    found = []
    for number, documents in enumerate(segments):
        for row, document in enumerate(documents):
            value = score(document, query, dimension_weights)
            if value > 0 and (allowed is None or allowed[number][row]):
                found.append((-value, sequences[number][row], number, row))
    return [(number, row, -value) for value, _, number, row in sorted(found)[:k]]


def triples(hits: Hits) -> list[tuple[int, int, float]]:
    return list(zip(hits.segments.tolist(), hits.rows.tolist(), hits.scores.tolist(), strict=True))
