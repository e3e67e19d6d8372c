"""Pairwise comparisons to scores: against double loops, under the Bradley-Terry model, in cycles, sampled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import RerankerError
from retrieval.rerankers.aggregation import METHODS, Aggregation, aggregate

EXHAUSTIVE = [method for method in METHODS if method != "sample"]


def double_loop(matrix, method):
    """Score documents as the definitions say, one by one."""
    n = len(matrix)
    scores = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        mine = [float(matrix[i][j]) for j in others]
        if method == "binary":
            scores.append(sum(p > 0.5 for p in mine) + sum(mine) / n)
        elif method == "symmetric-sum":
            scores.append(sum(mine) + sum(1 - float(matrix[j][i]) for j in others))
        elif method in ("min", "max"):
            scores.append((min if method == "min" else max)(mine, default=0.0))
        else:
            scores.append(sum(mine))
    return scores


@pytest.mark.parametrize("method", METHODS)
@given(n=st.integers(1, 9), seed=st.integers(0, 2**32 - 1), diagonal=st.sampled_from([0.0, 5.0, np.nan, np.inf]))
def test_against_a_double_loop(method, n, seed, diagonal):
    matrix = np.random.default_rng(seed).random((n, n))
    np.fill_diagonal(matrix, diagonal)
    found = aggregate(matrix, method)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, double_loop(matrix, method), rtol=1e-12, atol=1e-12)


def test_nothing_to_aggregate():
    for method in METHODS:
        assert aggregate(np.empty((0, 0)), method).shape == (0,)
        assert aggregate(np.array([[np.nan]]), method).tolist() == [0.0]


@pytest.mark.parametrize("method", EXHAUSTIVE)
@given(strengths=st.lists(st.integers(-40, 40), min_size=2, max_size=8, unique=True))
def test_strengths_are_found_again(method, strengths):
    """p_ij = sigmoid(s_i - s_j), Bradley and Terry (1952): all aggregations give the order of s."""
    s = np.array(strengths) / 10
    matrix = 1 / (1 + np.exp(s[None, :] - s[:, None]))
    assert np.argsort(-aggregate(matrix, method), kind="stable").tolist() == np.argsort(-s).tolist()


def test_a_cycle_is_decided_by_the_sum_and_then_by_the_earlier_rank():
    # Each beats the next one: one win for each document. The sums are 1.0, 1.25 and 1.25.
    matrix = np.array([[0, 0.75, 0.25], [0.5, 0, 0.75], [0.75, 0.5, 0]])
    wins = aggregate(matrix, "binary")
    assert np.floor(wins).tolist() == [1, 1, 1]
    assert np.argsort(-wins, kind="stable").tolist() == [1, 2, 0]
    assert wins[1] == wins[2]


def test_a_win_counts_more_than_any_sum():
    matrix = np.array([[0, 0.51, 0.51, 0.0], [0.49, 0, 1, 0.5], [0.49, 0, 0, 0], [0.2, 0.5, 0.2, 0]])
    assert matrix[0].sum() < matrix[1].sum()
    wins = aggregate(matrix, "binary")
    assert wins[0] > wins[1] > wins[3]


@pytest.mark.parametrize("method", METHODS)
@given(n=st.integers(2, 8), seed=st.integers(0, 2**32 - 1))
def test_other_order_same_scores(method, n, seed):
    random = np.random.default_rng(seed)
    matrix, order = random.random((n, n)), random.permutation(n)
    m = int(random.integers(1, n)) if method == "sample" else None
    aggregation = Aggregation(method, m)
    ids = [f"d{number}" for number in range(n)]

    def scores(places):
        pairs = aggregation.pairs("query", [ids[place] for place in places])
        chosen = np.asarray(places)[pairs]
        return aggregation.scores(n, pairs, matrix[chosen[:, 0], chosen[:, 1]])

    assert scores(order).tolist() == scores(np.arange(n))[order].tolist()


def test_a_sample_of_all_others_is_the_sum():
    matrix = np.random.default_rng(1).random((6, 6))
    ids = list("abcdef")
    for m in (5, 9):
        pairs = Aggregation("sample", m).pairs("q", ids)
        assert pairs.tolist() == Aggregation().pairs("q", ids).tolist()
        probabilities = matrix[pairs[:, 0], pairs[:, 1]]
        expected = Aggregation().scores(6, pairs, probabilities)
        assert Aggregation("sample", m).scores(6, pairs, probabilities).tolist() == expected.tolist()


def test_the_expectation_of_a_sample_is_its_share_of_the_sum():
    n, m, rounds = 6, 2, 1000
    matrix = np.random.default_rng(2).random((n, n))
    ids = [f"document {number}" for number in range(n)]
    drawn = np.zeros((n, n))
    total = np.zeros(n)
    for seed in range(rounds):
        aggregation = Aggregation("sample", m, seed)
        pairs = aggregation.pairs("a query", ids)
        assert np.bincount(pairs[:, 0], minlength=n).tolist() == [m] * n  # without replacement
        assert len(np.unique(pairs, axis=0)) == n * m
        drawn[pairs[:, 0], pairs[:, 1]] += 1
        total += aggregation.scores(n, pairs, matrix[pairs[:, 0], pairs[:, 1]])
    share = m / (n - 1)
    np.testing.assert_allclose(total / rounds, share * aggregate(matrix, "sum"), rtol=0.06)
    off_diagonal = drawn[~np.eye(n, dtype=bool)] / rounds
    # 30 shares of 1,000 draws each: five standard deviations.
    assert np.abs(off_diagonal - share).max() < 5 * np.sqrt(share * (1 - share) / rounds)
    assert drawn.trace() == 0


def test_a_sample_differs_by_seed_and_query():
    ids = [str(number) for number in range(30)]
    draws = [
        Aggregation("sample", 3, seed).pairs(query, ids).tolist() for seed in (0, 1) for query in ("one", "another")
    ]
    assert len({str(draw) for draw in draws}) == 4


@pytest.mark.parametrize(
    ("aggregation", "calls"),
    [
        (Aggregation(), [0, 0, 2, 870]),
        (Aggregation("binary"), [0, 0, 2, 870]),
        (Aggregation("sample", 10), [0, 0, 2, 300]),
    ],
)
def test_calls(aggregation, calls):
    for n, expected in zip((0, 1, 2, 30), calls, strict=True):
        assert aggregation.calls(n) == expected
        assert len(aggregation.pairs("q", [str(number) for number in range(n)])) == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "mean"}, "unknown aggregation 'mean'"),
        ({"method": "sample"}, "needs m of at least 1, not None"),
        ({"method": "sample", "m": 0}, "not 0"),
        ({"method": "sum", "m": 3}, "m is for aggregation 'sample'"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(RerankerError, match=message):
        Aggregation(**settings)
