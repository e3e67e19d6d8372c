"""Paired comparisons, against enumeration by hand, scipy's own tests and intervals, and Spearman's own function."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import spearmanr

from eval.errors import MeasureError
from eval.significance import (
    compare_mean_rank_correlations,
    compare_means,
    compare_rank_correlations,
    dominance,
    holm,
    standardised_difference,
)

FEW = [0.5, 0.25, 0.0, 0.75, 1.0, 0.5]


def test_the_probability_is_the_share_of_all_sign_flips():
    second = [0.75, 0.5, 0.5, 0.75, 0.75, 1.0]
    differences = np.subtract(second, FEW)
    flipped = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=len(FEW))]
    wanted = np.mean(np.array(flipped) >= abs(differences.sum()) - 1e-12)
    found = compare_means(FEW, second)
    assert found.p == pytest.approx(wanted)
    assert found.difference == pytest.approx(differences.mean())
    assert found.low < found.difference < found.high


def test_equal_systems_do_not_differ():
    found = compare_means(FEW, FEW)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_a_large_sample_agrees_with_the_normal_law():
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=400), generator.normal(0.1, size=400)
    found = compare_means(first, second)
    error = np.std(second - first) / np.sqrt(400)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_means_agree_with_scipy():
    generator = np.random.default_rng(3)
    first = generator.random(60)
    second = first + generator.normal(0.02, 0.1, 60)
    options = {"n_resamples": 9_999, "vectorized": True, "rng": np.random.default_rng(0)}
    test = stats.permutation_test((second - first,), np.mean, permutation_type="samples", **options)
    interval = stats.bootstrap((second - first,), np.mean, method="percentile", **options).confidence_interval
    found = compare_means(first, second)
    assert 0.05 < test.pvalue < 0.5, "a probability that can be estimated"
    assert found.p == pytest.approx(test.pvalue, abs=4 * np.sqrt(test.pvalue / 9_999))
    assert (found.low, found.high) == pytest.approx(tuple(interval), abs=0.003)


def test_a_drawn_probability_is_never_zero():
    assert compare_means(np.zeros(40), np.ones(40)).p == 1 / 10_000


def test_correlations_agree_with_scipy():
    generator = np.random.default_rng(6)
    gold = generator.integers(0, 6, 120).astype(float)
    first, second = gold + generator.normal(0, 4, 120), gold + generator.normal(0, 2, 120)

    def difference(gold, first, second):
        return spearmanr(gold, second).statistic - spearmanr(gold, first).statistic

    interval = stats.bootstrap(
        (gold, first, second), difference, paired=True, vectorized=False, n_resamples=1_000, method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    found = compare_rank_correlations(gold, first, second)
    assert (found.low, found.high) == pytest.approx(tuple(interval), abs=0.02)


def test_the_seed_decides_the_draws():
    first, second = np.random.default_rng(7).random((2, 50))
    assert compare_means(first, second, seed=1) == compare_means(first, second, seed=1)
    assert compare_means(first, second, seed=1) != compare_means(first, second, seed=2)
    there = [compare_rank_correlations(first, second, first + second, seed) for seed in (1, 1, 2)]
    assert there[0] == there[1] != there[2]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 8)] * 2), min_size=2, max_size=6))
def test_the_other_way_round_the_difference_is_mirrored(values):
    first, second = np.array(values, float).T / 8
    there, back = compare_means(first, second), compare_means(second, first)
    assert there.difference == pytest.approx(-back.difference)
    assert there.p == pytest.approx(back.p)


def test_correlations_are_spearmans():
    generator = np.random.default_rng(1)
    gold = generator.integers(0, 6, 200).astype(float)
    first, second = gold + generator.normal(0, 4, 200), gold + generator.normal(0, 1, 200)
    found = compare_rank_correlations(gold, first, second)
    wanted = spearmanr(gold, second).statistic - spearmanr(gold, first).statistic
    assert found.difference == pytest.approx(wanted)
    assert 0 < found.low < wanted < found.high


def test_the_mean_over_sets_weighs_sets_alike():
    generator = np.random.default_rng(2)
    sets = []
    for n, noise in ((60, 1.0), (240, 3.0)):
        gold = generator.normal(size=n)
        sets.append((gold, gold + generator.normal(0, 4, n), gold + generator.normal(0, noise, n)))
    found = compare_mean_rank_correlations(sets)
    each = [spearmanr(gold, last).statistic - spearmanr(gold, first).statistic for gold, first, last in sets]
    assert found.n == 300
    assert found.difference == pytest.approx(np.mean(each))
    widths = [one.high - one.low for one in (compare_rank_correlations(*triple) for triple in sets)]
    # Independent errors of the sets add up as squares.
    assert found.high - found.low == pytest.approx(np.hypot(*widths) / 2, rel=0.1)


def test_no_set_is_no_comparison():
    with pytest.raises(MeasureError, match="no set"):
        compare_mean_rank_correlations([])


@pytest.mark.parametrize("second", [[0.0] * 5, [float("nan")] * 6])
def test_what_cannot_be_compared(second):
    with pytest.raises(MeasureError, match="compared"):
        compare_means(FEW, second)


@pytest.mark.parametrize("side", range(3))
def test_equal_scores_have_no_correlation(side):
    values = [FEW, FEW[::-1], FEW]
    values[side] = [0.5] * 6
    with pytest.raises(MeasureError, match=r"all 6 values of one side are 0\.5"):
        compare_rank_correlations(*values)


def test_it_reads_well():
    assert str(compare_means(FEW, FEW)) == "+0.0000 [+0.0000, +0.0000], p = 1.000"


def test_holm_by_hand():
    # 0.01 x 4, 0.02 x 3, 0.03 x 2, then 0.05 x 1, which may not fall below the one before it.
    assert holm([0.03, 0.01, 0.05, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])


@given(st.lists(st.floats(0, 1), max_size=6))
def test_holm_closes_bonferroni(probabilities):
    """A hypothesis falls if every set of hypotheses that holds it falls by Bonferroni (Marcus and others 1976)."""
    places = range(len(probabilities))
    subsets = [some for size in range(1, len(probabilities) + 1) for some in itertools.combinations(places, size)]
    wanted = [
        min(1, max(len(some) * min(probabilities[each] for each in some) for some in subsets if place in some))
        for place in places
    ]
    assert holm(probabilities) == pytest.approx(wanted)


def test_holm_takes_probabilities_only():
    with pytest.raises(MeasureError, match=r"1\.5 is no probability"):
        holm([0.5, 1.5])


def test_effect_sizes_by_hand():
    differences = [0.5, -0.25, 0.0, 0.25]  # mean 1/8; squares about it: 9/64, 9/64, 1/64, 1/64
    assert standardised_difference(differences) == pytest.approx(0.125 / np.sqrt(20 / 64 / 3))
    assert dominance(differences) == pytest.approx(0.25)
    assert standardised_difference([0.0, 0.0]) == 0
    assert standardised_difference([0.1] * 7) is None
