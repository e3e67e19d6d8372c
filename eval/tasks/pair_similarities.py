"""How similar the two texts of each pair are, by every similarity that tasks over pairs report."""

from __future__ import annotations

import numpy as np

from retrieval.encoders import Similarity

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")

SIMILARITY_POLICIES = {
    "distances": "count with their sign turned, so that higher is more similar; a correlation keeps its sign",
    "vectors of length zero": "have cosine similarity 0 with everything",
}


def pair_similarities(first: np.ndarray, second: np.ndarray) -> dict[str, np.ndarray]:
    """Return the similarities of row i of one array to row i of the other.

    Args:
        first: (n, d) float32, not necessarily of length one.
        second: (n, d) float32.

    Returns:
        (n,) float32 by name of the similarity: cosine, dot, and the negative Euclidean and Manhattan distances.
    """
    from sklearn.metrics.pairwise import (
        paired_cosine_distances,
        paired_euclidean_distances,
        paired_manhattan_distances,
    )

    cosine = 1.0 - paired_cosine_distances(first, second)
    cosine[~(first.any(axis=1) & second.any(axis=1))] = 0.0
    return {
        "cosine": cosine,
        "dot": np.einsum("ij,ij->i", first, second),
        "euclidean": -paired_euclidean_distances(first, second),
        "manhattan": -paired_manhattan_distances(first, second),
    }


def own_similarity(similarity: Similarity) -> str:
    """Return which of the similarities an encoder compares its vectors by."""
    return "dot" if similarity == "dot" else "cosine"


def unit_vectors(vectors: np.ndarray) -> np.ndarray:
    """Return vectors (n, d) at length one; those of length zero stay as they are."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths > 0, lengths, 1)
