"""Birch: the best sentences and the first stage's score, against a plain loop and at both ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import RerankerError
from retrieval.rerankers import BirchReranker, Candidates, FunctionReranker, Interpolation

SENTENCES = st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=4).map(" ".join), max_size=5)
LISTS = st.lists(SENTENCES, max_size=5)
NORMALISATIONS = ("min-max", "z-score", "none")


def overlap(query, texts):
    return [sum(query.count(word) for word in text.split()) + 0.1 * len(text) for text in texts]


def of(documents, first=None):
    texts = ["".join(f"{sentence.upper()}! " for sentence in sentences) for sentences in documents]
    scores = np.sort(np.random.default_rng(len(texts)).random(len(texts)))[::-1] if first is None else first
    return Candidates([f"d{number}" for number in range(len(texts))], texts, scores)


def normalised(scores, how):
    if how == "none" or not len(scores):
        return scores
    if np.ptp(scores) == 0:
        return np.full(len(scores), 1.0 if how == "min-max" else 0.0)
    low, span = (scores.min(), np.ptp(scores)) if how == "min-max" else (scores.mean(), scores.std())
    return (scores - low) / span


@given(LISTS, st.sampled_from(NORMALISATIONS), st.sampled_from([0.0, 0.3, 1.0]))
def test_scores_are_those_of_a_plain_loop(documents, normalisation, a):
    weights = (1.0, 0.7, 0.2)
    reranker = BirchReranker(FunctionReranker(overlap), Interpolation(a, weights), normalisation=normalisation)
    given_ = of(documents)
    (found,) = reranker.score(["AB"], [given_])
    expected = []
    for sentences, first in zip(documents, normalised(given_.scores, normalisation), strict=True):
        texts = [f"{sentence.upper()}!" for sentence in sentences] or [""]
        best = sorted(overlap("AB", texts), reverse=True)[:3]
        expected.append(a * first + (1 - a) * sum(w * s for w, s in zip(weights, best, strict=False)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
def test_the_first_stage_alone_keeps_its_order(normalisation):
    given_ = of([["a"], ["b b"], ["a b", "c"], []])
    reranker = BirchReranker(FunctionReranker(overlap), Interpolation(1.0), normalisation=normalisation)
    assert np.argsort(-reranker.score(["AB"], [given_])[0], kind="stable").tolist() == [0, 1, 2, 3]


@given(LISTS, st.floats(-1e3, 1e3), st.sampled_from(["min-max", "z-score"]))
def test_a_constant_added_to_the_first_stage_changes_nothing(documents, constant, normalisation):
    reranker = BirchReranker(FunctionReranker(overlap), normalisation=normalisation)
    plain = of(documents)
    shifted = of(documents, plain.scores + constant)
    np.testing.assert_allclose(reranker.score(["AB"], [plain])[0], reranker.score(["AB"], [shifted])[0], atol=1e-8)


def test_one_sentence_of_weight_one_is_the_best_sentence():
    reranker = BirchReranker(FunctionReranker(overlap), Interpolation(0.0, (1.0,)))
    found = reranker.score(["AB"], [of([["a b", "c"], ["c c c"]])])[0]
    assert found.tolist() == [max(overlap("AB", ["A B!", "C!"])), overlap("AB", ["C C C!"])[0]]


def test_candidates_need_not_be_sorted():
    reranker = BirchReranker(FunctionReranker(overlap), Interpolation(1.0))
    assert reranker.score(["a"], [of([["a"]] * 3, np.array([1.0, 3.0, 2.0]))])[0].tolist() == [0, 1, 0.5]


def test_calls_and_identity():
    function = FunctionReranker(overlap)
    reranker = BirchReranker(function)
    assert reranker.calls(3) == 300
    assert reranker.calls_for(of([["a", "b"], ["a", "c"]])) == 3  # equal sentences once
    others = [
        BirchReranker(function, Interpolation(0.4)),
        BirchReranker(function, Interpolation(0.5, (1.0,))),
        BirchReranker(function, normalisation="none"),
    ]
    identities = [repr(each.identity()) for each in (reranker, *others)]
    assert len(set(identities)) == 4
    assert reranker.identity()["reranker"] == function.identity()
    assert reranker.execution()["reranker"] == function.execution()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Interpolation(1.5), "the first stage counts 0 to 1, not 1.5"),
        (lambda: Interpolation(weights=()), "sentences need weights"),
        (lambda: Interpolation(weights=(1.0, -1.0)), r"0 or more, not \(1.0, -1.0\)"),
        (lambda: Interpolation(float("nan")), "not nan"),
        (lambda: BirchReranker(FunctionReranker(overlap), normalisation="rank"), "unknown normalisation 'rank'"),
    ],
)
def test_settings_that_make_no_sense(make, message):
    with pytest.raises(RerankerError, match=message):
        make()
