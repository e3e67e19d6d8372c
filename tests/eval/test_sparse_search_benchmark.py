"""The sparse search benchmark: every peer that is installed against brute force, and all of it on tiny collections."""

from __future__ import annotations

import numpy as np
import pytest

from eval.benchmarks import sparse_search
from eval.benchmarks.peers.bmp_sparse import BlockMaxPruning
from eval.benchmarks.peers.engine_sparse import DaringEngineIndex, EngineIndex
from eval.benchmarks.peers.faiss_codes import FaissCodes, code_bytes, packed
from eval.benchmarks.peers.installed import missing
from eval.benchmarks.peers.qdrant_sparse import QdrantEdge
from eval.benchmarks.peers.scipy_sparse import ScipyProduct
from eval.benchmarks.peers.seismic_sparse import Seismic
from eval.benchmarks.peers.sparse import read_vectors, top, vector, write_vectors
from eval.benchmarks.peers.torch_sparse import TorchProduct
from eval.benchmarks.processes import n_cores
from eval.benchmarks.sparse_search_worker import _difference, _judged
from eval.benchmarks.sparse_vectors import (
    DOCUMENTS,
    QUERIES,
    VOCABULARY,
    SparseVectors,
    binary_vectors,
    learned_vectors,
)
from eval.errors import ReproductionError

EXACT_WEIGHTED = [EngineIndex, ScipyProduct, QdrantEdge, TorchProduct]
EXACT_BINARY = [EngineIndex, ScipyProduct, FaissCodes, TorchProduct]
APPROXIMATE = [DaringEngineIndex, Seismic, BlockMaxPruning]


def needed(side):
    if not issubclass(side, EngineIndex) and (said := missing(side.name)) is not None:
        pytest.skip(said)


def opened(side, directory, documents, n_dimensions):
    needed(side)
    directory.mkdir()
    side.build(directory, documents, n_dimensions)
    return side(directory, documents, n_dimensions, 1)


def scores_by_hand(documents, queries):
    """Add up products dimension by dimension: (n_queries, n_documents)."""
    held = [dict(zip(*map(np.ndarray.tolist, vector(documents, row)), strict=True)) for row in range(len(documents))]
    asked = [vector(queries, number) for number in range(len(queries))]
    return np.array(
        [
            [
                sum(w * entries.get(d, 0) for d, w in zip(*map(np.ndarray.tolist, query), strict=True))
                for entries in held
            ]
            for query in asked
        ]
    )


def answers(side, queries, k, point=""):
    prepared = side.prepare(queries)
    return side.found(side.search(prepared, k, point), prepared)


def assert_exact(found, expected, k):
    assert len(found) == len(expected)
    for (rows, scores), truth in zip(found, expected, strict=True):
        best = np.sort(truth[truth > 0])[::-1][:k]
        assert scores.tolist() == best.tolist()
        assert truth[rows].tolist() == scores.tolist()
        assert len(set(rows.tolist())) == len(rows)


@pytest.mark.parametrize("side", EXACT_WEIGHTED, ids=lambda side: side.name)
@pytest.mark.parametrize("k", [7, 300])
def test_exact_peers_score_as_by_hand(side, k, tmp_path):
    documents = learned_vectors(300, DOCUMENTS)
    queries = learned_vectors(20, QUERIES, stream=1)
    found = answers(opened(side, tmp_path / "index", documents, VOCABULARY), queries, k)
    assert_exact(found, scores_by_hand(documents, queries), k)


@pytest.mark.parametrize("side", EXACT_BINARY, ids=lambda side: side.name)
@pytest.mark.parametrize("clusters", [None, 5])
def test_exact_peers_count_overlaps_as_by_hand(side, clusters, tmp_path):
    documents = binary_vectors(300, 40, 1000, clusters=clusters)
    queries = binary_vectors(20, 25, 1000, clusters=clusters, stream=1)
    found = answers(opened(side, tmp_path / "index", documents, 1000), queries, 12)
    assert_exact(found, scores_by_hand(documents, queries), 12)


@pytest.mark.parametrize("side", APPROXIMATE, ids=lambda side: side.name)
def test_approximate_peers_come_near(side, tmp_path):
    documents = learned_vectors(1500, DOCUMENTS)
    queries = learned_vectors(20, QUERIES, stream=1)
    index = opened(side, tmp_path / "index", documents, VOCABULARY)
    truth = scores_by_hand(documents, queries)
    shared = {}
    for point in index.points:
        found = answers(index, queries, 10, point)
        best = np.argsort(-truth, axis=1)[:, :10].tolist()
        shared[point] = (
            np.mean([len({*rows.tolist()} & {*ten}) for (rows, _), ten in zip(found, best, strict=True)]) / 10
        )
        assert all(len(rows) <= 10 for rows, _ in found)
    assert shared[index.points[-1]] > 0.85
    assert shared[index.points[-1]] >= shared[index.points[0]]


def test_scipy_answers_the_same_both_ways(tmp_path):
    needed(ScipyProduct)
    documents, queries = learned_vectors(200, DOCUMENTS), learned_vectors(5, QUERIES, stream=1)
    side = ScipyProduct(tmp_path, documents, VOCABULARY, 1)
    prepared = side.prepare(queries)
    both = [side.found(side.search(prepared._replace(by_lists=way), 10, ""), prepared) for way in (False, True)]
    for first, second in zip(*both, strict=True):
        assert first.scores.tolist() == second.scores.tolist()
    assert side.way(queries) in ("query by lists", "documents by query")


def test_codes_of_different_sizes_have_no_overlaps_from_distances(tmp_path):
    documents = SparseVectors(np.array([0, 1, 3]), np.array([0, 1, 2], np.int32), None)
    with pytest.raises(ValueError, match="equally many"):
        FaissCodes(tmp_path, documents, 8, 1)


def test_codes_are_packed_by_the_bit():
    codes = SparseVectors(np.array([0, 2, 2, 3]), np.array([0, 9, 7], np.int32), None)
    assert packed(codes, 16).tolist() == [[1, 2], [0, 0], [128, 0]]
    assert code_bytes(1_000_000, 81_920) == 10_240_000_000


def test_vectors_survive_the_way_to_another_process(tmp_path):
    learned, codes = learned_vectors(10, QUERIES), binary_vectors(10, 4, 64)
    for name, vectors in (("learned", learned), ("codes", codes)):
        write_vectors(tmp_path, name, vectors)
        again = read_vectors(tmp_path, name)
        assert np.array_equal(vectors.offsets, again.offsets)
        assert np.array_equal(vectors.dimensions, again.dimensions)
        assert (vectors.weights is None) == (again.weights is None)
        assert vectors.weights is None or np.array_equal(vectors.weights, again.weights)
    with pytest.raises(FileNotFoundError, match="no vectors 'other'"):
        read_vectors(tmp_path, "other")


def test_the_best_are_positive_and_in_order():
    assert top(np.array([0.0, 2.0, 1.0, 2.0]), 10) == (pytest.approx([1, 3, 2]), pytest.approx([2.0, 2.0, 1.0]))
    assert top(np.array([0.0, 2.0, 1.0, 3.0]), 2).rows.tolist() == [3, 1]
    assert top(np.zeros(3), 2).rows.tolist() == []


def test_recall_counts_ties_with_the_last_place(tmp_path):
    needed(ScipyProduct)
    # Scores 3, 2, 2, 1 and a document without a shared dimension.
    documents = SparseVectors(np.arange(6), np.array([0, 0, 0, 0, 1], np.int32), np.array([3, 2, 2, 1, 9], np.uint8))
    queries = SparseVectors(np.array([0, 1]), np.array([0], np.int32), np.array([1], np.uint8))
    judge = ScipyProduct(tmp_path, documents, 2, 1)

    def judged(rows, scores):
        found = [sparse_search_found(rows, scores)]
        return _judged(judge, queries, 2, {("scipy", ""): found}, {"scipy": judge})["scipy", ""]

    assert judged([0, 2], [3.0, 2.0]) == {"recall": 1.0, "largest_difference": 0.0}
    assert judged([0, 3], [3.0, 1.0]) == {"recall": 0.5, "largest_difference": 0.5}
    assert judged([0], [3.0]) == {"recall": 0.5, "largest_difference": 1.0}
    assert _difference(np.array([2.0]), np.array([2.0])) == 0


def sparse_search_found(rows, scores):
    from eval.benchmarks.peers.sparse import Found

    return Found(np.array(rows), np.array(scores))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["learned", "binary"])
def test_the_benchmark_checks_and_times_every_side(kind, tmp_path):
    if (said := missing("scipy")) is not None:
        pytest.skip(said)
    if kind == "learned":
        collection = sparse_search.learned_collection(600, 6, tmp_path, topics=False)
        assert any("no real queries" in note for note in collection.notes)
    else:
        collection = sparse_search.binary_collection(300, 50, 6, clusters=3, n_dimensions=2000, query=20)
    outcomes = sparse_search.measure(collection, ks=(5, 1000), repeats=2)
    assert [outcome.numbers["threads"] for outcome in outcomes] == ([1, n_cores()] if n_cores() > 1 else [1])
    batches = outcomes[0].numbers["batches"]
    assert len(outcomes[0].rows) == len(batches)
    assert {batch["k"] for batch in batches} == {5, len(collection.documents)}
    points = {side: {batch["point"] for batch in batches if batch["side"] == side} for side in ("ours", "ours, daring")}
    assert points == {"ours": {""}, "ours, daring": set(DaringEngineIndex.points)}
    assert any(note.startswith("'ours, daring': the same index") for note in outcomes[0].notes)
    built = outcomes[0].numbers["built"]
    assert built["ours, daring"] == built["ours"]
    for batch in batches:
        assert len(batch["seconds"]) == 2
        assert 0 < batch["milliseconds"]["p50"] <= batch["milliseconds"]["p99"]
        if batch["exact"]:
            assert batch["recall"] == 1
            assert batch["largest_difference"] < 1e-6
    assert outcomes[0].numbers["postings"] == len(collection.documents.dimensions)


def test_differing_scores_are_an_error():
    collection = sparse_search.binary_collection(3, 2, 1, n_dimensions=16, query=2)
    batch = {"side": "ours", "set": "codes", "k": 5, "exact": True, "largest_difference": 0.25}
    with pytest.raises(ReproductionError, match=r"ours's scores for 'codes' queries, k = 5, differ .* by 25\.00%"):
        sparse_search._outcome(collection, {"batches": [batch]}, {}, [])


def test_codes_too_large_for_faiss_are_left_out(monkeypatch):
    assert "faiss" in sparse_search.binary_collection(100, 4, 1).peers
    monkeypatch.setattr(sparse_search, "_LARGEST_CODES", 100 * 10_240 - 1)
    collection = sparse_search.binary_collection(100, 4, 1)
    assert "faiss" not in collection.peers
    assert any(note.startswith("faiss is left out") for note in collection.notes)
