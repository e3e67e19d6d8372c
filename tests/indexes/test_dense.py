"""Exact dense search against a brute-force oracle, and what must not change it: segments, batches, blocks, threads."""

import contextlib
import fractions

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes import dense_batch
from indexes.dense import DenseSegment, best_passage, search_exact
from indexes.dense_scoring import score_rows
from indexes.errors import CorruptIndexError, VectorError
from indexes.vectors import VectorStore, normalise


def store_of(vectors, rows=None):
    vectors = np.ascontiguousarray(vectors, np.float32)
    rows = np.arange(len(vectors)) if rows is None else rows
    longest = np.sqrt((vectors.astype(np.float64) ** 2).sum(axis=1).max(initial=0))
    return VectorStore(vectors, np.asarray(rows, np.int32), float(longest))


def segment_of(vectors, rows=None, alive=None, sequences=None):
    store = store_of(vectors, rows)
    n_documents = int(store.rows[-1]) + 1 if len(store.rows) else 0
    return DenseSegment(store, alive, np.arange(n_documents) if sequences is None else np.asarray(sequences, np.int64))


def oracle(vectors, rows, query, k, allowed=None):
    """Documents by (score descending, row ascending) in plain float64."""
    scores = vectors.astype(np.float64) @ query.astype(np.float64)
    best = {}
    for row, score in zip(rows, scores, strict=True):
        if allowed is None or allowed[row]:
            best[int(row)] = max(score, best.get(int(row), -np.inf))
    return sorted(best.items(), key=lambda item: (-item[1], item[0]))[:k]


def assert_equal(left, right):
    for one, other in zip(left, right, strict=True):
        for column, other_column in zip(one, other, strict=True):
            np.testing.assert_array_equal(column, other_column)


def assert_answers(hits, expected):
    assert hits.rows.tolist() == [row for row, _ in expected]
    np.testing.assert_allclose(hits.scores, [score for _, score in expected], rtol=1e-12, atol=1e-12)


@pytest.fixture
def rng():
    return np.random.default_rng(3)


@pytest.mark.parametrize("n_queries", [1, 3, 5, 40, 200])
@pytest.mark.parametrize("k", [1, 10, 200, 5000])
def test_equals_brute_force(rng, n_queries, k):
    vectors = rng.standard_normal((2500, 37)).astype(np.float32)
    queries = rng.standard_normal((n_queries, 37)).astype(np.float32)
    found = search_exact([segment_of(vectors)], queries, k)
    for hits, query in list(zip(found, queries, strict=True))[:5]:
        assert_answers(hits, oracle(vectors, range(2500), query, k))


def test_documents_have_the_score_of_their_best_passage(rng):
    rows = np.sort(rng.integers(0, 900, 3000)) * 2  # every other document has no passage
    vectors = rng.standard_normal((3000, 16)).astype(np.float32)
    for n_queries in (1, 30):
        queries = rng.standard_normal((n_queries, 16)).astype(np.float32)
        for hits, query in zip(search_exact([segment_of(vectors, rows)], queries, 50), queries, strict=True):
            assert_answers(hits, oracle(vectors, rows, query, 50))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.04, 0.06, 0.5, 1.0])
def test_masks_and_deletions(rng, share):
    vectors = rng.standard_normal((3000, 16)).astype(np.float32)
    rows = np.arange(3000) // 2
    mask, alive = rng.random(1500) < share, rng.random(1500) < 0.9
    query = rng.standard_normal((1, 16)).astype(np.float32)
    for given_mask, given_alive in ((mask, None), (None, mask), (mask, alive)):
        allowed = np.ones(1500, bool) if given_mask is None else given_mask
        allowed = allowed if given_alive is None else allowed & given_alive
        (hits,) = search_exact([segment_of(vectors, rows, given_alive)], query, 20, [given_mask])
        assert_answers(hits, oracle(vectors, rows, query[0], 20, allowed))


@st.composite
def worlds(draw):
    """Documents with one to three small integer vectors each, spread over segments, some deleted; many ties."""
    n = draw(st.integers(1, 40))
    passages = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    seed = draw(st.integers(0, 2**32 - 1))
    spread = draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    alive = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    scale = draw(st.sampled_from([1.0, 0.1, 1e-30, 1e14]))
    vectors = (np.random.default_rng(seed).integers(-1, 2, (sum(passages), 5)) * scale).astype(np.float32)
    return vectors, np.repeat(np.arange(n), passages), np.array(spread), np.array(alive)


@given(
    world=worlds(),
    k=st.integers(1, 50),
    n_queries=st.sampled_from([1, 6, 40]),
    rows_per_block=st.integers(1, 9),
    spare_room=st.integers(0, 5),
)
@settings(max_examples=100)
def test_any_division_into_segments_is_the_rebuilt_single_one(world, k, n_queries, rows_per_block, spare_room):
    vectors, rows, spread, alive = world
    queries = np.random.default_rng(1).integers(-1, 2, (n_queries, 5)).astype(np.float32)
    kept = np.flatnonzero(alive)  # rebuilt: the living documents, renumbered in order
    of_kept = alive[rows]
    rebuilt = segment_of(vectors[of_kept], np.searchsorted(kept, rows[of_kept]), None, kept)

    segments = []
    for part in range(4):
        documents = np.flatnonzero(spread == part)
        of_part = spread[rows] == part
        local = np.searchsorted(documents, rows[of_part])
        segments.append(DenseSegment(store_of(vectors[of_part], local), alive[documents], documents))

    expected = search_exact([rebuilt], queries, k)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense_batch, "_ROWS_PER_BLOCK", rows_per_block)
        patch.setattr(dense_batch, "_SPARE_ROOM", spare_room)
        found = search_exact(segments, queries, k)
    for hits, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(hits.sequences, wanted.sequences)
        np.testing.assert_array_equal(hits.scores, wanted.scores)
        for number, row, sequence in zip(hits.segments, hits.rows, hits.sequences, strict=True):
            assert segments[number].sequences[row] == sequence


def test_batches_threads_and_blocks_change_no_bit(rng, monkeypatch):
    vectors = normalise(rng.standard_normal((5000, 48)))
    queries = normalise(rng.standard_normal((150, 48)))
    segment = segment_of(vectors)
    expected = search_exact([segment], queries, 17, threads=1)
    assert_equal(search_exact([segment], queries, 17, threads=2), expected)
    assert_equal([search_exact([segment], query[None], 17)[0] for query in queries], expected)
    monkeypatch.setattr(dense_batch, "_BYTES_PER_WORKER", 1)
    assert_equal([search_exact([segment], query[None], 17, threads=3)[0] for query in queries], expected)
    monkeypatch.setattr(dense_batch, "_ROWS_PER_BLOCK", 77)
    monkeypatch.setattr(dense_batch, "_HEAP_BYTES", 24 * 17 * 40)
    assert_equal(search_exact([segment], queries, 17), expected)


def test_rounding_of_the_matrix_product_decides_nothing(rng):
    # Scores that differ in the last bits of float64 only, while the terms of their sums are large and cancel.
    base = np.concatenate([rng.standard_normal(64) * 1e3, [0.0] * 64]).astype(np.float32)
    base[64:] = -base[:64]
    vectors = np.tile(base, (3000, 1))
    vectors[:, 0] += rng.integers(-3, 4, 3000).astype(np.float32) * np.spacing(vectors[0, 0])
    query = np.ones((1, 128), np.float32)
    exact = [float(sum(fractions.Fraction(float(value)) for value in vector)) for vector in vectors]
    expected = sorted(range(3000), key=lambda row: (-exact[row], row))[:100]
    for queries in (query, np.tile(query, (8, 1))):
        assert search_exact([segment_of(vectors)], queries, 100)[0].rows.tolist() == expected


def test_equal_vectors_tie_by_sequence_wherever_they_lie(rng):
    vector = rng.standard_normal(130).astype(np.float32)
    vectors = np.tile(vector, (700, 1))
    sequences = rng.permutation(1400)
    first, second = np.sort(sequences[:700]), np.sort(sequences[700:])
    segments = [segment_of(vectors, None, None, first), segment_of(vectors, None, None, second)]
    for queries in (rng.standard_normal((1, 130)), rng.standard_normal((9, 130))):
        for hits in search_exact(segments, queries, 321):
            assert hits.sequences.tolist() == list(range(321))
            assert len(set(hits.scores.tolist())) == 1


def test_zero_vectors_and_zero_queries_score_zero(rng):
    vectors = rng.standard_normal((50, 8)).astype(np.float32)
    vectors[10] = 0
    (hits,) = search_exact([segment_of(vectors)], np.zeros((1, 8)), 50)
    assert hits.rows.tolist() == list(range(50))
    assert (hits.scores == 0).all()
    (hits,) = search_exact([segment_of(vectors)], rng.standard_normal((1, 8)), 50)
    assert hits.scores[hits.rows.tolist().index(10)] == 0


@pytest.mark.parametrize("scale", [1e-45, 1e-38, 1e-20, 1e10, 1e14])
@pytest.mark.parametrize("query_scale", [1e-45, 1e-20, 1e10, 1e14])
def test_very_small_and_very_large_numbers(rng, scale, query_scale):
    vectors = (rng.uniform(-3, 3, (300, 9)) * scale).astype(np.float32)
    queries = (rng.uniform(-3, 3, (6, 9)) * query_scale).astype(np.float32)
    found = search_exact([segment_of(vectors)], queries, 12)
    for hits, query in zip(found, queries, strict=True):
        expected = oracle(vectors, range(300), query, 12)
        assert hits.rows.tolist() == [row for row, _ in expected]
        assert np.isfinite(hits.scores).all()


@given(seed=st.integers(0, 2**32 - 1), dimension=st.integers(1, 400), spread=st.integers(0, 6))
@settings(max_examples=50)
def test_the_error_bound_holds(seed, dimension, spread):
    rng = np.random.default_rng(seed)
    vectors = (rng.standard_normal((40, dimension)) * 10.0 ** rng.integers(-spread, spread + 1, (40, 1))).astype(
        np.float32
    )
    units = normalise(rng.standard_normal((3, dimension)))
    approximate = (vectors @ units.T).astype(np.float64)
    exact = vectors.astype(np.float64) @ units.T.astype(np.float64)
    assert np.abs(approximate - exact).max() <= dense_batch.error_bound(store_of(vectors))


@given(dimension=st.integers(1, 200), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_a_score_depends_on_the_two_vectors_alone(dimension, seed):
    rng = np.random.default_rng(seed)
    vector, query = rng.standard_normal((2, dimension)).astype(np.float32)
    others = rng.standard_normal((7, dimension)).astype(np.float32)
    vectors = np.stack([*others[:3], vector, *others[3:], vector])
    scores = score_rows(vectors, np.array([8, 3, 0]), query)
    assert scores[0] == scores[1]
    exact = sum(fractions.Fraction(float(a)) * fractions.Fraction(float(b)) for a, b in zip(vector, query, strict=True))
    assert scores[0] == pytest.approx(float(exact), rel=1e-12, abs=1e-13)


def test_edges(rng):
    vectors = rng.standard_normal((5, 4)).astype(np.float32)
    segment, empty = segment_of(vectors), segment_of(np.empty((0, 4)))
    query = rng.standard_normal((1, 4))
    assert len(search_exact([segment], query, 0)[0].rows) == 0
    assert len(search_exact([segment], query, -1)[0].rows) == 0
    assert len(search_exact([segment], query, 100)[0].rows) == 5
    assert search_exact([segment], np.empty((0, 4)), 3) == []
    assert len(search_exact([empty], query, 3)[0].rows) == 0
    assert len(search_exact([], query, 3)[0].rows) == 0
    assert search_exact([empty, segment], query, 1)[0].segments.tolist() == [1]


@pytest.mark.parametrize("queries", [np.zeros(4), np.zeros((1, 5)), np.full((1, 4), np.nan), np.full((1, 4), np.inf)])
def test_queries_that_do_not_fit(queries):
    with pytest.raises(VectorError):
        search_exact([segment_of(np.ones((2, 4)))], queries, 1)


def test_segments_and_masks_that_do_not_fit():
    segment = segment_of(np.ones((2, 4)))
    with pytest.raises(CorruptIndexError, match="document row 1"):
        DenseSegment(segment.store, None, np.arange(1))
    with pytest.raises(VectorError, match="mask"):
        DenseSegment(segment.store, np.ones(3, bool), np.arange(2))
    with pytest.raises(VectorError, match="mask"):
        search_exact([segment], np.ones((1, 4)), 1, [np.ones(2, int)])
    with pytest.raises(VectorError, match="masks"):
        search_exact([segment], np.ones((1, 4)), 1, [None, None])
    with pytest.raises(VectorError, match="dimensions"):
        search_exact([segment, segment_of(np.ones((2, 5)))], np.ones((1, 4)), 1)


def test_best_passage(rng):
    rows = np.array([0, 0, 0, 2, 2])
    vectors = rng.standard_normal((5, 6)).astype(np.float32)
    vectors[2] = vectors[1]
    segment = segment_of(vectors, rows)
    query = vectors[1]
    position, score = best_passage(segment, 0, query)
    assert position == 1  # the first of the two that are equal
    (hits,) = search_exact([segment], query[None], 3)
    assert score == hits.scores[hits.rows.tolist().index(0)]
    with pytest.raises(VectorError, match="row 1 has no vector"):
        best_passage(segment, 1, query)


@pytest.mark.parametrize("positions", [[-1, 0], [0, 5], [2**40], [3, 1, 99, 2]])
def test_passages_that_are_not_there_are_an_error_not_a_crash(rng, positions):
    segment = segment_of(rng.normal(size=(5, 8)))
    (batch,) = dense_batch.query_batches([segment], rng.normal(size=(1, 8)), 3, None)
    with pytest.raises(CorruptIndexError, match="of 5"):
        batch.score(0, np.array(positions), 0)


@given(
    rows=st.lists(st.sampled_from([-(2**31), -1, 0, 1, 2, 3, 4, 5, 2**31 - 1]), min_size=6, max_size=6),
    values=st.lists(st.sampled_from([0, 1, -1, np.nan, np.inf, -np.inf, 1e38, 1e-45]), min_size=1, max_size=4),
    norm=st.sampled_from([0.0, 1.0, 1e15, 1e300, np.nan, np.inf, -1.0]),
    n_queries=st.sampled_from([1, 40]),
)
@settings(max_examples=settings.default.max_examples // 2)
def test_whatever_the_files_of_vectors_hold_nothing_crashes(tmp_path_factory, rows, values, norm, n_queries):
    directory = tmp_path_factory.mktemp("crafted")
    vectors = np.ones((6, 8), np.float32)
    vectors.reshape(-1)[: 11 * len(values) : 11] = values
    for name, array in (
        ("vectors", vectors),
        ("passage-rows", np.array(rows, np.int32)),
        ("largest-norm", np.array([norm])),
    ):
        np.save(directory / f"{name}.npy", array)
    try:
        segment = DenseSegment(VectorStore.open(directory), np.array([True, False, True, True, True]), np.arange(5))
    except CorruptIndexError:
        return
    assert sorted(rows) == rows
    assert rows[0] >= 0
    assert rows[-1] < 5
    for hits in search_exact([segment], np.ones((n_queries, 8), np.float32), 3):
        assert set(hits.rows.tolist()) <= set(rows)
    for row in range(5):
        if segment.store.passages_of(row) != (0, 0):
            with contextlib.suppress(VectorError):
                best_passage(segment, row, np.ones(8))
