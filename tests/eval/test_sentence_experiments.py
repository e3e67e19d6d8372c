"""The parts of the studies of sentence encoders that could be wrong without anyone noticing."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.experiments.plain_sentences import unlabelled
from eval.experiments.studies.mirror_bert import tfidf_similarities
from eval.experiments.studies.pair_filtering import corrupt, keep_rates
from eval.pools import sampled_pool
from eval.scored_pairs import ScoredPairs, read_scored_pairs, similarities
from retrieval.encoders import FunctionEncoder

PAIRS = [(f"query {number}", f"positive {number}") for number in range(50)]


@given(st.floats(0, 1), st.integers(0, 1000))
def test_corruption_moves_the_share_and_loses_no_positive(share, seed):
    corrupted, wrong = corrupt(PAIRS, share, seed)
    wanted = round(share * len(PAIRS))
    assert wrong.sum() == (wanted if wanted > 1 else 0)  # one alone changes places with itself
    assert [query for query, _ in corrupted] == [query for query, _ in PAIRS]
    assert sorted(positive for _, positive in corrupted) == sorted(positive for _, positive in PAIRS)
    assert [pair in PAIRS for pair in corrupted] == (~wrong).tolist()


def test_keep_rates_by_hand():
    pairs = [("a", "1"), ("b", "2"), ("c", "4"), ("d", "3"), ("e", "5")]
    wrong = np.array([False, False, True, True, False])
    assert keep_rates(pairs, wrong, {("a", "1"), ("c", "4"), ("e", "5")}) == pytest.approx(
        {"precision": 2 / 3, "recall": 2 / 3, "removed": 1 / 2, "kept": 3 / 5}
    )
    assert keep_rates(pairs, np.zeros(5, bool), set(pairs)) == {"precision": 1, "recall": 1, "removed": 1, "kept": 1}


def test_tfidf_cosine_by_hand():
    """Smoothed idf ln((1 + n) / (1 + df)) + 1, as scikit-learn documents it."""
    often, once = 1.0, math.log(3 / 2) + 1
    pairs = ScoredPairs("two", ["red cat"], ["red dog"], np.array([0.5]))
    wanted = often**2 / (often**2 + once**2)
    assert tfidf_similarities(["red cat", "red dog"], [pairs])[0] == pytest.approx([wanted])


def test_what_is_measured_is_not_trained_on_whatever_its_typography():
    measured = ["A man is playing the guitar, loudly."]
    short, long = "Too short.", "word " * 30
    candidates = ["a man is playing the guitar loudly", "A man is playing the piano, loudly.", short, long]
    assert unlabelled([*candidates, "A man is playing the piano loudly"], measured) == [candidates[1]]


def test_pairs_without_seen_sentences(tmp_path):
    file = tmp_path / "pairs.tsv"
    file.write_text("score\tsentence1\tsentence2\n5\tOne.\tTwo!\n2.5\tThree\tFour\n0\tFive\tOne\n", encoding="utf-8")
    pairs = read_scored_pairs(file, "toy")
    assert pairs.gold.tolist() == [1, 0.5, 0]
    left = pairs.without(["two", "one?"])
    assert (left.first, left.second, left.gold.tolist()) == (["Three"], ["Four"], [0.5])


def letters(texts):
    return np.array([[text.count("a"), text.count("b"), 1.0] for text in texts], np.float32)


def test_similarities_are_cosines_of_the_pairs():
    sets = [
        ScoredPairs("one", ["aa", "b"], ["ab", "aa"], np.array([0.5, 0])),
        ScoredPairs("other", ["ab"], ["b"], np.array([1.0])),
    ]
    encoder = FunctionEncoder(letters, "letters", 1, dimension=3)
    for pairs, found in zip(sets, similarities(encoder, sets), strict=True):
        first, second = letters(pairs.first), letters(pairs.second)
        wanted = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
        assert found == pytest.approx(wanted)


@pytest.fixture
def testset(tmp_path):
    documents = [{"_id": str(number), "title": "", "text": f"text {number}"} for number in range(20)]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")
    queries = [{"_id": f"q{number}", "text": f"query {number}"} for number in range(3)]
    (tmp_path / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)), encoding="utf-8")
    (tmp_path / "qrels").mkdir()
    judged = ["query-id\tcorpus-id\tscore", "q0\t3\t1", "q1\t17\t1", "q1\t4\t0", "q2\t9\t1"]
    (tmp_path / "qrels" / "dev.tsv").write_text("\n".join(judged) + "\n", encoding="utf-8")
    return tmp_path


def test_a_sampled_pool_holds_what_is_judged(testset):
    pool = sampled_pool(testset, "dev", 8, seed=1, queries=2)
    assert list(pool.queries) == ["q0", "q1"]
    assert len(pool.ids) == len(set(pool.ids)) == 8
    assert {"3", "17", "4"} <= set(pool.ids)
    assert pool.texts == [f"text {number}" for number in pool.ids]
    assert sampled_pool(testset, "dev", 1, seed=1, queries=2).ids == ["3", "4", "17"]


def test_what_training_sees_is_not_asked_for(testset):
    (testset / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq2\t17\t1\n", encoding="utf-8")
    pool = sampled_pool(testset, "dev", 8, seed=1, queries=2, unseen="train")
    assert list(pool.queries) == ["q0", "q2"]


def test_a_sample_keeps_pairs_together():
    pairs = ScoredPairs("ten", [f"a{n}" for n in range(10)], [f"b{n}" for n in range(10)], np.arange(10) / 10)
    some = pairs.sampled(4, seed=1)
    rows = (some.gold * 10).round().astype(int).tolist()
    assert len(some) == 4
    assert rows == sorted(set(rows))
    assert (some.first, some.second) == ([f"a{n}" for n in rows], [f"b{n}" for n in rows])
    assert pairs.sampled(99, seed=1).first == pairs.first
