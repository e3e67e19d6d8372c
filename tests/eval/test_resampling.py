"""Shared draws, against enumeration, scipy's own tests, and correlations of samples that were really drawn."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eval.resampling import flipped_sums, resampled_means, resampled_rank_correlations, sign_flip_probability


def probability(first, second, seed=0):
    values = np.column_stack([first, second]).astype(float)
    sums, exact = flipped_sums(values, seed=seed)
    return sign_flip_probability(sums[:, 0], sums[:, 1], float(np.sum(second - first)), len(values), exact=exact)


@given(st.lists(st.tuples(*[st.integers(0, 8)] * 2), min_size=2, max_size=8))
def test_few_items_are_enumerated(values):
    first, second = np.array(values, float).T / 8
    differences = second - first
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=len(values))]
    assert probability(first, second) == pytest.approx(np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9))


def test_many_items_agree_with_scipy():
    generator = np.random.default_rng(3)
    first = generator.random(60)
    second = first + generator.normal(0.02, 0.1, 60)
    wanted = stats.permutation_test(
        (second - first,), np.mean, permutation_type="samples", vectorized=True, rng=np.random.default_rng(0)
    ).pvalue
    assert 0.05 < wanted < 0.5, "a probability that can be estimated"
    assert probability(first, second) == pytest.approx(wanted, abs=4 * np.sqrt(wanted / 9999))


def test_a_drawn_probability_is_never_zero():
    first = np.zeros(40)
    assert probability(first, first + 1) == 1 / 10_000


def test_intervals_agree_with_scipy():
    generator = np.random.default_rng(4)
    values = generator.random((50, 2))
    found = resampled_means(values)
    assert found.shape == (9_999, 2)
    interval = stats.bootstrap(
        (values[:, 1] - values[:, 0],), np.mean, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    assert np.percentile(found[:, 1] - found[:, 0], [2.5, 97.5]) == pytest.approx(tuple(interval), abs=0.005)


@given(
    st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=3, max_size=30),
    st.integers(0, 2**31),
)
def test_ranks_by_counting_are_ranks(triples, seed):
    gold, *predicted = np.array(triples, float).T
    found = resampled_rank_correlations(gold, np.column_stack(predicted), 5, seed)
    rows = np.random.default_rng(seed).integers(0, len(gold), (5, len(gold)))  # the same draws, really drawn
    for row, values in zip(rows, found, strict=True):
        for system, value in zip(predicted, values, strict=True):
            one, other = stats.rankdata(gold[row]), stats.rankdata(system[row])
            if one.std() == 0 or other.std() == 0:
                assert not np.isfinite(value)
            else:
                assert value == pytest.approx(np.corrcoef(one, other)[0, 1], abs=1e-9)


def test_blocks_do_not_matter(monkeypatch):
    values = np.random.default_rng(5).random((30, 3))
    whole = flipped_sums(values, 100)[0], resampled_means(values, 100)
    monkeypatch.setattr("eval.resampling._CELLS_AT_ONCE", 700)
    assert np.allclose(flipped_sums(values, 100)[0], whole[0])
    assert np.allclose(resampled_means(values, 100), whole[1])
