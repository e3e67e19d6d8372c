"""The searchers themselves: recall floors, selections, several covered segments, files, threads and forks."""

import json
import math
import multiprocessing
import os
import time

import faiss
import msgspec
import numpy as np
import pytest

from indexes.dense import DenseSegment, search_exact
from indexes.errors import CorruptIndexError, StorageError, VectorError
from indexes.searchers import (
    SEARCHERS,
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
from indexes.searchers.base import CoveredVectors, selected
from indexes.searchers.faiss_library import selector_of
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
        (HNSWSettings, {"m": 1}),  # FAISS dies of a graph with one link for each passage
        (HNSWSettings, {"m": 10**9}),
        (HNSWSettings, {"ef_construction": 10**12}),
        (IVFPQSettings, {"seed": 10**12}),
        (IVFPQSettings, {"n_lists": 1.5}),
        (Int8Settings, {"build_threads": 10**9}),
        (Int8Settings, {"oversample": 1.5}),
        (Int8Settings, {"oversample": "2"}),
        (Int8Settings, {"oversample": None}),
        (BinarySettings, {"oversample": True}),
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


@pytest.mark.parametrize("kind", ["hnsw", "ivf_pq", "int8"])
def test_rebuilt_from_its_arrays_it_searches_to_the_bit_like_the_index_that_was_built(tmp_path, rng, monkeypatch, kind):
    originals = []
    save = SEARCHERS[kind]._save

    def keep_and_save(index, directory):
        originals.append(index)
        save(index, directory)

    monkeypatch.setattr(SEARCHERS[kind], "_save", keep_and_save)
    vectors, queries = clustered(rng, 2000, 30, 24, 12)
    searcher = built(tmp_path / "searcher", SMALL[kind], [store_in(tmp_path / "vectors", vectors)])
    (original,) = originals
    allowed = rng.random(2000) < 0.3
    for selection in (None, allowed):
        for n in (1, 10, 300, 2000):
            parameters = searcher._parameters(n, selected(selection, 2000), selector_of(selection))
            for expected, found in zip(
                original.search(queries, n, params=parameters),
                searcher._index.search(queries, n, params=parameters),
                strict=True,
            ):
                np.testing.assert_array_equal(found, expected)


def test_binary_candidates_are_those_of_the_smallest_hamming_distances(tmp_path, rng):
    vectors, queries = clustered(rng, 500, 10, 21, 5)
    searcher = built(tmp_path / "searcher", BinarySettings(), [store_in(tmp_path / "vectors", vectors)])
    centre = vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    distances = ((queries > centre)[:, None] != (vectors > centre)[None]).sum(axis=2)
    for line, positions in zip(distances, searcher.candidates(queries, 40, None), strict=True):
        np.testing.assert_array_equal(np.sort(line[positions]), np.sort(line)[:40])


def change(path, alter):
    """Replace an array by what `alter` makes of it, as a valid file."""
    array = np.array(np.load(path))
    altered = alter(array)
    path.unlink()
    np.save(path, array if altered is None else altered)


def put(value, place=0):
    return lambda array: array.__setitem__(place, value)


def down_to_the_lowest_layer(links, layers):
    """Let a link of a passage's second layer lead to a passage that is on the lowest only."""
    first = int(np.flatnonzero(layers > 1)[0])
    widths = np.where(layers[:first] > 1, 16 + 8 * (layers[:first].astype(int) - 1), 16)  # m = 8
    links[widths.sum() + 16] = np.flatnonzero(layers == 1)[0]


DAMAGES = {
    "a link to a passage that does not exist": ("hnsw", "links", put(300)),
    "a link before the first passage": ("hnsw", "links", put(-2)),
    "a link too few": ("hnsw", "links", lambda links: links[:-1]),
    "a link too many": ("hnsw", "links", lambda links: np.append(links, np.int32(0))),
    "a passage on no layer": ("hnsw", "layers", put(0, 5)),
    "a passage on more layers than there are": ("hnsw", "layers", put(255, 5)),
    "an entry that does not exist": ("hnsw", "entry", put(300)),
    "an entry before the first passage": ("hnsw", "entry", put(-1)),
    "no centroid": ("ivf_pq", "centroids", lambda centroids: centroids[:0]),
    "more lists than passages": ("ivf_pq", "centroids", lambda centroids: np.tile(centroids, (38, 1))),
    "a list that does not exist": ("ivf_pq", "lists", put(8)),
    "a list before the first": ("ivf_pq", "lists", put(-1)),
    "too few codes in ivf_pq": ("ivf_pq", "codes", lambda codes: codes[:-1]),
    "too few codes in int8": ("int8", "codes", lambda codes: codes[:-1]),
    "too few codes in hnsw": ("hnsw", "codes", lambda codes: codes[:-1]),
    "shorter codes": ("ivf_pq", "codes", lambda codes: codes[:, 1:].copy()),
    "codes in another order": ("int8", "codes", np.asfortranarray),
    "codes of another type": ("int8", "codes", lambda codes: codes.astype(np.int8)),
    "fewer dimensions": ("int8", "ranges", lambda ranges: ranges[:, 1:].copy()),
    "shorter bits": ("binary", "codes", lambda codes: codes[:-1]),
} | {
    f"{value} in {kind}'s {name}": (kind, name, put(np.float32(value), ...))
    for value in ("nan", "inf", "-inf", "3e15")
    for kind, name in (
        ("hnsw", "ranges"),
        ("int8", "ranges"),
        ("binary", "centre"),
        ("ivf_pq", "centroids"),
        ("ivf_pq", "parts"),
    )
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_arrays_that_would_lead_a_search_astray_are_found(tmp_path, rng, damage):
    kind, name, alter = DAMAGES[damage]
    built(tmp_path / "searcher", SMALL[kind], [store_in(tmp_path / "vectors", rng.standard_normal((300, 8)))])
    change(tmp_path / "searcher" / f"{name}.npy", alter)
    with pytest.raises(CorruptIndexError, match=rf"{name}\.npy.*build the searcher again"):
        open_searcher(tmp_path / "searcher", 300, 8)


@pytest.mark.skipif(not hasattr(os, "truncate") or os.name == "nt", reason="files with holes take their whole size")
@pytest.mark.parametrize(("kind", "name", "width"), [("hnsw", "links", ()), ("ivf_pq", "centroids", (8,))])
def test_the_size_of_a_huge_file_is_enough_to_refuse_it(tmp_path, rng, kind, name, width):
    built(tmp_path / "searcher", SMALL[kind], [store_in(tmp_path / "vectors", rng.standard_normal((300, 8)))])
    path = tmp_path / "searcher" / f"{name}.npy"
    shape = (2**37 // math.prod(width), *width)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<i4" if kind == "hnsw" else "<f4", "fortran_order": False, "shape": shape}
        )
        file.truncate(file.tell() + 4 * math.prod(shape))  # 512 GiB of nothing
    started = time.monotonic()
    with pytest.raises(CorruptIndexError, match=rf"{name}\.npy"):
        open_searcher(tmp_path / "searcher", 300, 8)
    assert time.monotonic() - started < 10


def test_links_and_entries_are_passages_of_their_layer(tmp_path, rng):
    directory = tmp_path / "searcher"
    built(directory, SMALL["hnsw"], [store_in(tmp_path / "vectors", rng.standard_normal((300, 8)))])
    layers, entry = np.load(directory / "layers.npy"), np.load(directory / "entry.npy")
    change(directory / "entry.npy", put(np.flatnonzero(layers == 1)[0]))
    with pytest.raises(CorruptIndexError, match="not on the highest layer"):
        open_searcher(directory, 300, 8)
    change(directory / "entry.npy", put(entry[0]))
    change(directory / "links.npy", lambda links: down_to_the_lowest_layer(links, layers))
    with pytest.raises(CorruptIndexError, match=r"links\.npy .*not on its layer"):
        open_searcher(directory, 300, 8)


@every_kind
def test_a_missing_array_is_named(tmp_path, rng, kind):
    directory = tmp_path / "searcher"
    built(directory, SMALL[kind], [store_in(tmp_path / "vectors", rng.standard_normal((300, 8)))])
    for path in sorted(directory.iterdir()):
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(CorruptIndexError, match=rf"{path.name}.*build the searcher again"):
            open_searcher(directory, 300, 8)
        path.write_bytes(content)
    open_searcher(directory, 300, 8)


def test_a_searcher_of_the_first_layout_is_built_again(tmp_path, rng):
    built(tmp_path, SMALL["int8"], [store_in(tmp_path / "vectors", rng.standard_normal((30, 8)))])
    index = faiss.IndexScalarQuantizer(8, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    record = json.loads((tmp_path / "searcher.json").read_bytes())
    (tmp_path / "searcher.json").write_text(json.dumps(record | {"index_bytes": 999}))
    with pytest.raises(CorruptIndexError, match=r"searcher\.json.*index_bytes.*build the searcher again"):
        open_searcher(tmp_path, 30, 8)


NUMBERS = [-1, 0, 10**9, 2**31, 10**12, 2**63, 10**30, 1.5, "8", True, [], "null"]


@every_kind
def test_no_setting_in_the_record_does_more_than_refuse_to_open(tmp_path, rng, kind):
    vectors, queries = clustered(rng, 300, 4, 8, 4)
    store = store_in(tmp_path / "vectors", vectors)
    built(tmp_path / "searcher", SMALL[kind], [store])
    path = tmp_path / "searcher" / "searcher.json"
    record = json.loads(path.read_bytes())
    refused = opened = 0
    for name in record["settings"]:
        for value in NUMBERS:
            path.write_text(json.dumps(record | {"settings": record["settings"] | {name: value}}))
            try:
                searcher = open_searcher(tmp_path / "searcher", 300, 8)
            except CorruptIndexError as error:
                assert "searcher.json" in str(error) or ".npy" in str(error)  # the record, or what it does not fit
                refused += 1
                continue
            opened += 1
            for hits in search_with(searcher, [0], [whole(store)], queries, 10):
                assert len(hits.rows) == 10
    assert refused > opened > 0


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"null",
        b"\xff\xfe",
        b"[" * 10_000,
        b'{"settings":' + b'{"a":' * 10_000,
        b"9" * 70_000,
        b" " * 70_000,
    ],
    ids=["empty", "object", "null", "no text", "nested", "settings nested", "large number", "blank"],
)
def test_a_record_that_is_none(tmp_path, content):
    (tmp_path / "searcher.json").write_bytes(content)
    with pytest.raises(CorruptIndexError, match=r"searcher\.json"):
        open_searcher(tmp_path, 3, 4)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_record_that_is_a_link_or_a_pipe_is_not_followed(tmp_path, rng):
    directory = tmp_path / "searcher"
    built(directory, SMALL["int8"], [store_in(tmp_path / "vectors", rng.standard_normal((30, 8)))])
    path = directory / "searcher.json"
    path.rename(tmp_path / "elsewhere.json")
    path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(CorruptIndexError, match="not a plain file"):
        open_searcher(directory, 30, 8)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CorruptIndexError, match="not a plain file"):
        open_searcher(directory, 30, 8)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_a_record_that_may_not_be_read_is_not_called_damaged(tmp_path, rng):
    built(tmp_path, SMALL["int8"], [store_in(tmp_path / "vectors", rng.standard_normal((30, 8)))])
    (tmp_path / "searcher.json").chmod(0)
    with pytest.raises(StorageError, match=r"cannot read .*searcher\.json") as caught:
        open_searcher(tmp_path, 30, 8)
    assert not isinstance(caught.value, CorruptIndexError)


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
