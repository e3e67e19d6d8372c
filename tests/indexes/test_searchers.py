"""The searchers themselves: recall floors, selections, several covered segments, files, threads and forks."""

import multiprocessing

import faiss
import msgspec
import numpy as np
import pytest

from indexes.dense import DenseSegment, search_exact
from indexes.errors import CorruptIndexError, VectorError
from indexes.searchers import (
    SETTINGS,
    BinarySettings,
    HNSWSettings,
    Int8Settings,
    IVFPQSettings,
    SearcherSettings,
    build_searcher,
    kind_of,
    open_searcher,
)
from indexes.searchers.base import CoveredVectors
from indexes.searchers.ivf_pq import parts_of
from indexes.searchers.rescoring import search_with
from indexes.vectors import VectorStore, VectorStoreWriter, normalise

SMALL = {
    "hnsw": HNSWSettings(m=8, ef_construction=60),
    "ivf_pq": IVFPQSettings(n_lists=8, n_probe=4, m=8, bits=6),
    "int8": Int8Settings(),
    "binary": BinarySettings(),
}
every_kind = pytest.mark.parametrize("kind", SETTINGS)


def clustered(rng, n, n_queries, dimension, clusters, noise=0.7):
    """Passages and queries around the same centres, of length 1."""
    centres = rng.standard_normal((clusters, dimension))
    points = centres[rng.integers(0, clusters, n + n_queries)]
    points = normalise(points + noise * rng.standard_normal(points.shape))
    return points[:n], points[n:]


def store_in(directory, vectors, rows=None):
    directory.mkdir(parents=True, exist_ok=True)
    with VectorStoreWriter(directory, vectors.shape[1]) as writer:
        writer.append(vectors, np.arange(len(vectors)) if rows is None else rows)
    return VectorStore.open(directory)


def built(directory, settings, stores):
    directory.mkdir(parents=True, exist_ok=True)
    build_searcher(settings, stores, directory)
    return open_searcher(directory, sum(store.n_passages for store in stores), stores[0].dimension)


def whole(store):
    return DenseSegment(store, None, np.arange(len(np.unique(store.rows))))


def recall(found, truth):
    return np.mean(
        [
            len(np.intersect1d(hits.sequences, best.sequences)) / len(best.rows)
            for hits, best in zip(found, truth, strict=True)
        ]
    )


@pytest.fixture
def rng():
    return np.random.default_rng(5)


FLOORS = {"hnsw": 0.95, "ivf_pq": 0.90, "int8": 0.99, "binary": 0.90}


@pytest.mark.slow
@every_kind
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_recall_at_10_of_the_defaults(tmp_path, rng, kind, share):
    vectors, queries = clustered(rng, 12_000, 200, 384, 40)
    segment = whole(store_in(tmp_path / "vectors", vectors))
    searcher = built(tmp_path / "searcher", SETTINGS[kind](), [segment.store])
    masks = [None if share == 1.0 else rng.random(12_000) < share]
    found = search_with(searcher, [0], [segment], queries, 10, masks=masks)
    truth = search_exact([segment], queries, 10, masks)
    assert recall(found, truth) >= FLOORS[kind]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ivf_pq", "int8"])
def test_recall_of_inner_products_of_vectors_of_unequal_length(tmp_path, rng, kind):
    vectors, queries = clustered(rng, 12_000, 200, 384, 40)
    vectors *= np.exp(0.3 * rng.standard_normal((len(vectors), 1)))
    segment = whole(store_in(tmp_path / "vectors", vectors))
    searcher = built(tmp_path / "searcher", SETTINGS[kind](), [segment.store])
    assert recall(search_with(searcher, [0], [segment], queries, 10), search_exact([segment], queries, 10)) >= 0.9


@pytest.mark.parametrize("kind", ["hnsw", "ivf_pq", "int8"])  # bits know no length
def test_the_metric_is_the_inner_product(tmp_path, rng, kind):
    vectors, queries = clustered(rng, 600, 20, 32, 4)
    vectors *= np.linspace(0.2, 5, 600)[rng.permutation(600)][:, None].astype(np.float32)
    segment = whole(store_in(tmp_path / "vectors", vectors))
    searcher = built(tmp_path / "searcher", SMALL[kind], [segment.store])
    found = search_with(searcher, [0], [segment], queries, 10)
    assert recall(found, search_exact([segment], queries, 10)) >= 0.85


@every_kind
@pytest.mark.parametrize("scale", [1e-30, 9e14])
def test_very_short_and_very_long_vectors(tmp_path, rng, kind, scale):
    vectors, queries = clustered(rng, 600, 20, 32, 4)
    segment = whole(store_in(tmp_path / "vectors", vectors * scale))
    searcher = built(tmp_path / "searcher", SMALL[kind], [segment.store])
    found = search_with(searcher, [0], [segment], queries * scale, 10)
    assert recall(found, search_exact([segment], queries * scale, 10)) >= (0.8 if scale > 1 else 0.0)
    assert all(len(hits.rows) == 10 for hits in found)


@every_kind
@pytest.mark.parametrize("share", [0.02, 0.4])
def test_candidates_are_allowed_distinct_and_ascending(tmp_path, rng, kind, share):
    vectors, queries = clustered(rng, 500, 10, 24, 4)
    searcher = built(tmp_path / "searcher", SMALL[kind], [store_in(tmp_path / "vectors", vectors)])
    allowed = rng.random(500) < share
    for selection in (allowed, None, np.zeros(500, bool)):
        for n in (1, 30, 499, 5000):
            for positions in searcher.candidates(queries, n, selection):
                assert len(positions) <= n
                assert (np.diff(positions) > 0).all()
                assert len(positions) == 0 or 0 <= positions[0] <= positions[-1] < 500
                assert selection is None or selection[positions].all()


@every_kind
@pytest.mark.parametrize("dimension", [1, 3, 13])
def test_any_dimension(tmp_path, rng, kind, dimension):
    vectors, queries = rng.standard_normal((80, dimension)), rng.standard_normal((5, dimension))
    segment = whole(store_in(tmp_path / "vectors", vectors))
    searcher = built(tmp_path / "searcher", SETTINGS[kind](), [segment.store])
    for hits in search_with(searcher, [0], [segment], queries, 80):
        assert sorted(hits.rows.tolist()) == list(range(80))


@every_kind
def test_a_searcher_may_cover_several_segments_in_any_order(tmp_path, rng, kind):
    vectors, queries = clustered(rng, 900, 20, 32, 6)
    parts = [vectors[:200], vectors[200:500], vectors[500:650], vectors[650:]]
    sequences = np.split(np.arange(900), [200, 500, 650])
    stores = [store_in(tmp_path / str(number), part) for number, part in enumerate(parts)]
    segments = [
        DenseSegment(store, rng.random(store.n_passages) < 0.9, numbers)
        for store, numbers in zip(stores, sequences, strict=True)
    ]
    searcher = built(tmp_path / "searcher", SMALL[kind], [stores[2], stores[0]])
    found = search_with(searcher, [2, 0], segments, queries, 15)
    truth = search_exact(segments, queries, 15)
    scores = dict(zip(truth[0].sequences.tolist(), truth[0].scores.tolist(), strict=True))
    assert recall(found, truth) >= 0.8
    for sequence, score in zip(found[0].sequences.tolist(), found[0].scores.tolist(), strict=True):
        assert scores.get(sequence, score) == score


@every_kind
def test_short_of_documents_it_looks_further(tmp_path, rng, kind):
    # All candidates belong to the one document of many passages; nine others are wanted.
    vectors = np.concatenate([np.tile([1.0, 0.0, 0.0], (3000, 1)), normalise(rng.standard_normal((9, 3)))])
    rows = np.concatenate([np.zeros(3000, int), np.arange(1, 10)])
    segment = whole(store_in(tmp_path / "vectors", vectors, rows))
    searcher = built(tmp_path / "searcher", SMALL[kind] if kind != "ivf_pq" else IVFPQSettings(bits=4), [segment.store])
    query = np.array([[1.0, 0.1, 0.0]])
    (hits,) = search_with(searcher, [0], [segment], query, 10)
    (exact,) = search_exact([segment], query, 10)
    np.testing.assert_array_equal(hits.rows, exact.rows)
    np.testing.assert_array_equal(hits.scores, exact.scores)


@every_kind
def test_faiss_threads_change_nothing(tmp_path, rng, kind):
    vectors, queries = clustered(rng, 1500, 60, 32, 6)
    segment = whole(store_in(tmp_path / "vectors", vectors))
    searcher = built(tmp_path / "searcher", SMALL[kind], [segment.store])
    before = faiss.omp_get_max_threads()
    answers = []
    try:
        for threads in (1, 2):
            faiss.omp_set_num_threads(threads)
            answers.append(search_with(searcher, [0], [segment], queries, 10))
    finally:
        faiss.omp_set_num_threads(before)
    for one, other in zip(*answers, strict=True):
        np.testing.assert_array_equal(one.rows, other.rows)
        np.testing.assert_array_equal(one.scores, other.scores)


def test_building_leaves_the_thread_count_alone(tmp_path, rng):
    before = faiss.omp_get_max_threads()
    built(tmp_path / "searcher", HNSWSettings(build_threads=1), [store_in(tmp_path / "v", rng.standard_normal((9, 4)))])
    assert faiss.omp_get_max_threads() == before


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_searches(tmp_path, rng):
    vectors, queries = clustered(rng, 2000, 40, 32, 6)
    segment = whole(store_in(tmp_path / "vectors", vectors))
    searcher = built(tmp_path / "searcher", SMALL["hnsw"], [segment.store])
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(2)
    try:
        expected = search_with(searcher, [0], [segment], queries, 10)  # starts OpenMP's threads
        context = multiprocessing.get_context("fork")
        answers = context.Queue()
        child = context.Process(
            target=lambda: answers.put([h.rows.tolist() for h in search_with(searcher, [0], [segment], queries, 10)])
        )
        child.start()
        assert answers.get(timeout=60) == [hits.rows.tolist() for hits in expected]
        child.join(60)
    finally:
        faiss.omp_set_num_threads(before)


@every_kind
def test_settings_are_kept(tmp_path, rng, kind):
    store = store_in(tmp_path / "vectors", rng.standard_normal((40, 8)))
    assert built(tmp_path / "searcher", SMALL[kind], [store]).settings == SMALL[kind]
    assert kind_of(SMALL[kind]) == kind
    as_json = msgspec.json.encode(SMALL[kind])
    assert msgspec.json.decode(as_json, type=SearcherSettings) == SMALL[kind]


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        (HNSWSettings, {"m": 0}),
        (HNSWSettings, {"ef_search": -1}),
        (IVFPQSettings, {"n_lists": 0}),
        (IVFPQSettings, {"seed": -1}),
        (IVFPQSettings, {"bits": 30}),
        (Int8Settings, {"oversample": 0}),
        (BinarySettings, {"build_threads": 0}),
    ],
)
def test_impossible_settings(settings, options):
    (name,) = options
    with pytest.raises(VectorError, match=name):
        settings(**options)


def test_parts_of_a_vector():
    assert [parts_of(None, dimension) for dimension in (1, 8, 384, 768, 100)] == [1, 1, 48, 96, 10]
    assert 383 % parts_of(None, 383) == 0
    with pytest.raises(VectorError, match="m = 7 does not divide"):
        parts_of(7, 384)


def test_a_searcher_of_other_segments_is_refused(tmp_path, rng):
    stores = [store_in(tmp_path / str(n), rng.standard_normal((n, 8))) for n in (30, 40)]
    searcher = built(tmp_path / "searcher", Int8Settings(), [stores[0]])
    with pytest.raises(CorruptIndexError, match="covers 30"):
        open_searcher(tmp_path / "searcher", 40, 8)
    with pytest.raises(CorruptIndexError, match="30 x 8"):
        open_searcher(tmp_path / "searcher", 30, 9)
    with pytest.raises(VectorError, match="covers 30"):
        search_with(searcher, [1], [whole(store) for store in stores], np.ones((1, 8)), 3)
    with pytest.raises(VectorError, match="one dimension"):
        CoveredVectors([stores[0], store_in(tmp_path / "wide", np.ones((2, 9)))])


def test_links_that_lead_nowhere_are_found(tmp_path, rng):
    store = store_in(tmp_path / "vectors", rng.standard_normal((300, 8)))
    searcher = built(tmp_path / "searcher", SMALL["hnsw"], [store])
    path = tmp_path / "searcher" / "index.faiss"
    content = path.read_bytes()
    graph = faiss.vector_to_array(searcher._index.hnsw.neighbors)
    start = content.index(graph.tobytes())
    path.write_bytes(content[:start] + np.int32(300).tobytes() + content[start + 4 :])
    with pytest.raises(CorruptIndexError, match="index"):
        open_searcher(tmp_path / "searcher", 300, 8)


@pytest.mark.parametrize("kind", ["hnsw", "int8", "ivf_pq"])
def test_values_that_no_vector_has_are_found(tmp_path, rng, kind):
    store = store_in(tmp_path / "vectors", rng.standard_normal((300, 8)))
    searcher = built(tmp_path / "searcher", SMALL[kind], [store])  # FAISS frees its parts with it
    index = faiss.downcast_index(searcher._index.storage) if kind == "hnsw" else searcher._index
    values = faiss.vector_to_array(index.pq.centroids if kind == "ivf_pq" else index.sq.trained)
    path = tmp_path / "searcher" / "index.faiss"
    content = path.read_bytes()
    start = content.index(values.tobytes())
    path.write_bytes(content[:start] + np.float32(np.nan).tobytes() + content[start + 4 :])
    with pytest.raises(CorruptIndexError, match="values that no vector has"):
        open_searcher(tmp_path / "searcher", 300, 8)


def test_samples_and_blocks_run_over_all_stores(tmp_path, rng):
    vectors = rng.standard_normal((50, 4)).astype(np.float32)
    covered = CoveredVectors([store_in(tmp_path / "a", vectors[:20]), store_in(tmp_path / "b", vectors[20:])])
    np.testing.assert_array_equal(np.concatenate(list(covered.blocks())), vectors)
    np.testing.assert_array_equal(covered.sample(100, 0), vectors)
    sample = covered.sample(10, 3)
    np.testing.assert_array_equal(sample, covered.sample(10, 3))
    places = [int(np.flatnonzero((vectors == line).all(axis=1))[0]) for line in sample]
    assert places == sorted(set(places))
    np.testing.assert_array_equal(covered.ranges(), [vectors.min(axis=0), vectors.max(axis=0)])
    np.testing.assert_allclose(covered.mean(), vectors.mean(axis=0), atol=1e-6)
