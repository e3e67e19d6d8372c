from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.aggregation import Aggregation
from indexes.dense import DenseSegment, search_exact
from indexes.dense_aggregation import passage_scores, score_aggregated, search_aggregated
from indexes.errors import VectorError
from indexes.hits import Hits
from indexes.vectors import VectorStore

AGGREGATIONS = [
    Aggregation("max"),
    Aggregation("first"),
    Aggregation("mean", best=1),
    Aggregation("mean", best=2),
    Aggregation("mean", best=100),
    Aggregation("decayed", decay=0.0),
    Aggregation("decayed", decay=0.5),
    Aggregation("decayed", decay=1.0),
]
SCORES = st.lists(st.lists(st.integers(-4, 4).map(lambda n: n / 4), min_size=1, max_size=6), max_size=6)


def by_hand(aggregation: Aggregation, scores: list[float]) -> float:
    """Return a document's score as the definitions say, one passage after the other."""
    ranked = sorted(scores, reverse=True)
    match aggregation.method:
        case "max":
            return ranked[0]
        case "first":
            return scores[0]
        case "mean":
            return sum(ranked[: aggregation.best]) / len(ranked[: aggregation.best])
        case "decayed":
            return sum(score * aggregation.decay**rank for rank, score in enumerate(ranked))


@pytest.mark.parametrize("aggregation", AGGREGATIONS, ids=str)
@given(documents=SCORES)
def test_documents_score_what_the_definitions_say(aggregation, documents):
    scores = np.array([score for document in documents for score in document])
    firsts = np.cumsum([0, *map(len, documents)])[: len(documents)]
    found = aggregation.of_documents(scores, firsts)
    assert found.tolist() == pytest.approx([by_hand(aggregation, document) for document in documents])
    alone = [aggregation.of_documents(np.array(document), np.array([0]))[0] for document in documents]
    assert found.tolist() == alone  # to the bit, whatever stands beside it


@pytest.mark.parametrize("aggregation", AGGREGATIONS, ids=str)
@given(scores=st.lists(st.floats(-1, 1), min_size=1, max_size=8), seed=st.integers(0, 100))
def test_weights_and_gain_describe_the_score(aggregation, scores, seed):
    ranked = scores if aggregation.method == "first" else sorted(scores, reverse=True)
    weights = aggregation.weights(len(scores))
    score = aggregation.of_documents(np.array(scores), np.array([0]))[0]
    assert score == pytest.approx(sum(weight * each for weight, each in zip(weights, ranked, strict=False)), abs=1e-12)
    shaken = np.array(scores) + np.random.default_rng(seed).uniform(-1, 1, len(scores))
    difference = abs(aggregation.of_documents(shaken, np.array([0]))[0] - score)
    assert difference <= aggregation.gain(len(scores)) + 1e-12


def test_by_hand():
    scores, firsts = np.array([0.2, 0.8, 0.5, 0.1, 0.4]), np.array([0, 3, 4])
    assert Aggregation("mean", best=2).of_documents(scores, firsts).tolist() == pytest.approx([0.65, 0.1, 0.4])
    assert Aggregation("decayed").of_documents(scores, firsts).tolist() == pytest.approx([0.8 + 0.25 + 0.05, 0.1, 0.4])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "median"}, "'median': one of 'max', 'first', 'mean', 'decayed'"),
        ({"best": 0}, "best must be a whole number, at least 1, not 0"),
        ({"best": 1.5}, "not 1.5"),
        ({"decay": -0.1}, "decay must be between 0 and 1, not -0.1"),
        ({"decay": float("nan")}, "not nan"),
        ({"decay": "0.5"}, "decay must be between 0 and 1, not '0.5'"),
        ({"decay": True}, "not True"),
    ],
)
def test_bad_settings(changes, message):
    with pytest.raises(VectorError, match=message):
        Aggregation(**changes)


def test_settings_may_be_of_numpys_types():
    assert Aggregation("decayed", decay=np.float32(0.5)).weights(2).tolist() == [1, 0.5]


@st.composite
def worlds(draw):
    """Documents with few distinct vectors, so that scores tie; some deleted, in segments of any size."""
    n = draw(st.integers(1, 14))
    vectors = [draw(st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), max_size=4)) for _ in range(n)]
    alive = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    cuts = sorted(draw(st.sets(st.integers(1, n), max_size=3)) | {0, n})
    return vectors, alive, cuts


def segments_of(vectors, alive, cuts):
    """Return the documents as segments; sequence numbers are ten times the documents' numbers."""
    segments = []
    for begin, end in pairwise(cuts):
        rows = [row for row, passages in enumerate(vectors[begin:end]) for _ in passages]
        flat = [vector for passages in vectors[begin:end] for vector in passages]
        array = np.array(flat, np.float32).reshape(-1, 3)
        longest = float(np.linalg.norm(array, axis=1).max(initial=0))
        store = VectorStore(array, np.array(rows, np.int32), longest)
        segments.append(DenseSegment(store, np.array(alive[begin:end]), np.arange(begin, end, dtype=np.int64) * 10))
    return segments


@settings(max_examples=60)
@given(world=worlds(), k=st.integers(0, 16), aggregation=st.sampled_from(AGGREGATIONS), seed=st.integers(0, 1000))
def test_search_is_brute_force_however_documents_are_divided(world, k, aggregation, seed):
    vectors, alive, cuts = world
    queries = np.random.default_rng(seed).integers(-2, 3, (3, 3)).astype(np.float32)
    found = search_aggregated(segments_of(vectors, alive, cuts), queries, k, aggregation)
    for query, hits in zip(queries, found, strict=True):
        expected = sorted(
            (-by_hand(aggregation, [float(np.dot(vector, query)) for vector in passages]), number * 10)
            for number, passages in enumerate(vectors)
            if passages and alive[number]
        )[:k]
        assert hits.sequences.tolist() == [sequence for _, sequence in expected]
        assert hits.scores.tolist() == pytest.approx([-score for score, _ in expected])
    whole = search_aggregated(segments_of(vectors, alive, [0, len(vectors)]), queries, k, aggregation)
    for hits, others in zip(found, whole, strict=True):
        assert (hits.scores.tolist(), hits.sequences.tolist()) == (others.scores.tolist(), others.sequences.tolist())


@pytest.fixture
def segment():
    """Two hundred documents of one to nine passages, of unit length."""
    rng = np.random.default_rng(7)
    rows = np.repeat(np.arange(200), rng.integers(1, 10, 200)).astype(np.int32)
    vectors = rng.normal(size=(len(rows), 40)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return DenseSegment(VectorStore(vectors, rows, 1.001), None, np.arange(200, dtype=np.int64))


def same(hits: Hits, others: Hits) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(hits, others, strict=True))


def test_the_best_passage_is_what_exact_search_takes_to_the_bit(segment):
    queries = np.random.default_rng(8).normal(size=(20, 40)).astype(np.float32)
    expected = search_exact([segment], queries, 10)
    for hits, others in zip(search_aggregated([segment], queries, 10, Aggregation("max")), expected, strict=True):
        assert same(hits, others)


@pytest.mark.parametrize("aggregation", AGGREGATIONS, ids=str)
def test_scores_and_order_of_many_documents(segment, aggregation, monkeypatch):
    queries = np.random.default_rng(9).normal(size=(12, 40)).astype(np.float32)
    mask = np.arange(200) % 3 > 0
    found = search_aggregated([segment], queries, 15, aggregation, [mask])
    vectors, rows = segment.store.vectors.astype(np.float64), segment.store.rows
    for query, hits in zip(queries, found, strict=True):
        scores = vectors @ query.astype(np.float64)
        expected = {row: by_hand(aggregation, scores[rows == row].tolist()) for row in np.flatnonzero(mask).tolist()}
        best = sorted(expected, key=lambda row: -expected[row])[:15]
        assert hits.rows.tolist() == best
        np.testing.assert_allclose(hits.scores, [expected[row] for row in best], atol=1e-12)
    monkeypatch.setattr("indexes.dense_aggregation._SCORES_BYTES", 1)  # one query at a time
    for hits, others in zip(search_aggregated([segment], queries, 15, aggregation, [mask]), found, strict=True):
        assert same(hits, others)


def test_given_candidates_get_the_scores_of_the_search(segment):
    query = np.random.default_rng(10).normal(size=40).astype(np.float32)
    aggregation = Aggregation("mean", best=2)
    (everything,) = search_aggregated([segment], query[None], 200, aggregation)
    chosen = np.array([5, 60, 20, 100])
    hits = score_aggregated([segment], query, Hits(*(column[chosen] for column in everything)), 3, aggregation)
    assert same(hits, Hits(*(column[[5, 20, 60]] for column in everything)))


def test_scores_of_a_documents_passages(segment):
    query = np.random.default_rng(11).normal(size=40).astype(np.float32)
    start, scores = passage_scores(segment, 17, query)
    places = np.flatnonzero(segment.store.rows == 17)
    assert start == places[0]
    np.testing.assert_allclose(scores, segment.store.vectors[places] @ query, atol=1e-5)


def test_edges(segment):
    query = np.ones((1, 40), np.float32)
    assert len(search_aggregated([], query, 5, Aggregation("mean"))[0].rows) == 0
    assert len(search_aggregated([segment], query, 0, Aggregation("mean"))[0].rows) == 0
    assert len(search_aggregated([segment], query, 10**9, Aggregation("mean"))[0].rows) == 200
    zero = search_aggregated([segment], np.zeros((1, 40), np.float32), 3, Aggregation("mean"))[0]
    assert (zero.rows.tolist(), zero.scores.tolist()) == ([0, 1, 2], [0.0, 0.0, 0.0])
    with pytest.raises(VectorError, match="1 segments need as many masks"):
        search_aggregated([segment], query, 5, Aggregation("mean"), [None, None])
    with pytest.raises(VectorError):
        search_aggregated([segment], np.ones((1, 39), np.float32), 5, Aggregation("mean"))
