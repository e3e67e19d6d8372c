"""Overlaps with queries of many dimensions, which are counted in bytes: more than a byte holds, in several windows."""

from __future__ import annotations

import numpy as np
import pytest

from indexes.sparse import SparseIndex, SparseIndexWriter, SparseSearcher, SparseSegment, SparseVectors

WINDOW = 1 << 16


def codes(n, active, n_dimensions, seed):
    """Draw codes, each dimension active with the same probability; the last one has all."""
    matrix = np.random.default_rng(seed).random((n, n_dimensions), np.float32) < active / n_dimensions
    matrix[-1] = True
    return matrix


def vectors_of(matrix, weights=None):
    rows, dimensions = np.nonzero(matrix)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(matrix)))])
    return SparseVectors(offsets, dimensions.astype(np.int32), weights)


def searcher_of(directory, matrix):
    directory.mkdir(exist_ok=True)
    with SparseIndexWriter(directory, "binary") as writer:
        writer.add_many(vectors_of(matrix))
    return SparseSearcher([SparseSegment(SparseIndex.open(directory), None, np.arange(len(matrix)))])


def assert_best(hits, scores, k):
    """Compare with all documents' scores, ordered by score, then by row."""
    order = np.lexsort((np.arange(len(scores)), -scores))[:k]
    order = order[scores[order] > 0]
    assert hits.rows.tolist() == order.tolist()
    assert hits.scores.tolist() == scores[order].tolist()


@pytest.mark.parametrize(
    ("n", "active", "n_dimensions"),
    [
        (2_000, 500, 900),  # most documents have more than 255 dimensions of a query in common, one has all 900
        (3_000, 200, 255),
        (3_000, 200, 256),
        (3_000, 200, 511),
        (2 * WINDOW + 5_000, 20, 40),  # several windows, the last one small
    ],
)
@pytest.mark.parametrize("k", [1, 10, 1_000])
def test_overlaps_with_many_dimensions_equal_a_product_of_matrices(tmp_path, n, active, n_dimensions, k):
    documents = codes(n, active, n_dimensions, seed=1)
    queries = codes(4, int(0.7 * n_dimensions), n_dimensions, seed=2)
    expected = queries.astype(np.float32) @ documents.T.astype(np.float32)  # whole numbers: exact
    found = searcher_of(tmp_path / "codes", documents).search_many(vectors_of(queries), k)
    for hits, scores in zip(found, expected, strict=True):
        assert_best(hits, scores, k)


def test_dimensions_that_count_more_than_once_are_not_counted_as_one(tmp_path):
    """Weights of 1 and 2, mixed: what is counted in bytes and what is added up differs."""
    documents = codes(3_000, 200, 400, seed=3)
    query = codes(1, 400, 400, seed=4)
    for doubled in (slice(0, 0), slice(0, 1), slice(100, 300), slice(399, 400), slice(0, 400)):
        weights = np.ones(400, np.float32)
        weights[doubled] = 2
        (hits,) = searcher_of(tmp_path / f"{doubled}", documents).search_many(vectors_of(query, weights), 50)
        assert_best(hits, documents.astype(np.float64) @ weights, 50)
