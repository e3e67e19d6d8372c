"""Alignment, uniformity and isotropy: hand values, the papers' own steps, and what rotations must not change."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group

from eval.errors import MeasureError
from eval.probes.geometry import (
    alignment,
    average_cosine,
    effective_rank,
    isoscore,
    measure_geometry,
    partition_isotropy,
    uniformity,
)
from retrieval.encoders import FunctionEncoder

seeds = st.integers(0, 10**6)


def drawn(seed, n=9, d=4):
    return np.random.default_rng(seed).normal(0.3, 1, (n, d))


def test_alignment_by_hand():
    """Lengths do not count: one pair lies at a right angle (distance² 2), one is opposite (4), one is the same."""
    first = np.array([[1.0, 0], [0, 2], [3, 0]])
    second = np.array([[0, 5.0], [0, -1], [1, 0]])
    assert alignment(first, second).value == pytest.approx((2 + 4 + 0) / 3)
    assert alignment(first, second, alpha=1).value == pytest.approx((math.sqrt(2) + 2 + 0) / 3)


def test_uniformity_by_hand():
    """Three points: two at distance² 4 from each other, both at 2 from the third."""
    vectors = np.array([[1.0, 0], [-1, 0], [0, 7]])
    wanted = math.log((math.exp(-8) + 2 * math.exp(-4)) / 3)
    assert uniformity(vectors).value == pytest.approx(wanted)
    assert uniformity(np.ones((4, 3))).value == pytest.approx(0)


@given(seeds)
def test_means_over_pairs_equal_those_over_each_pair(seed):
    vectors = drawn(seed)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = list(itertools.combinations(units, 2))
    wanted = math.log(np.mean([math.exp(-2 * ((a - b) ** 2).sum()) for a, b in pairs]))
    assert uniformity(vectors).value == pytest.approx(wanted)
    assert average_cosine(vectors).value == pytest.approx(np.mean([a @ b for a, b in pairs]))


@given(seeds)
def test_the_jackknife_leaves_out_one_text_at_a_time(seed):
    vectors = drawn(seed, n=6)
    for measure in (uniformity, average_cosine):
        found = measure(vectors)
        without = np.array([measure(np.delete(vectors, row, axis=0)).value for row in range(6)])
        error = math.sqrt(5 / 6 * ((without - without.mean()) ** 2).sum())
        assert found.high - found.value == pytest.approx(1.959964 * error, rel=1e-5)
        assert found.n == 6


def test_blocks_of_rows_do_not_change_uniformity():
    vectors = drawn(3, n=1100, d=5)
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    potentials = np.exp(-2 * (2 - 2 * units @ units.T))[np.triu_indices(1100, 1)]
    assert uniformity(vectors).value == pytest.approx(math.log(potentials.mean()))


@given(seeds)
def test_rotation_and_order_change_nothing(seed):
    vectors, second = drawn(seed), drawn(seed + 1)
    rotation = ortho_group.rvs(4, random_state=seed)
    order = np.random.default_rng(seed).permutation(len(vectors))
    for measure in (partition_isotropy, isoscore, effective_rank):
        assert measure(vectors @ rotation) == pytest.approx(measure(vectors), rel=1e-7)
        assert measure(vectors[order]) == pytest.approx(measure(vectors), rel=1e-7)
        assert 0 <= measure(vectors) <= 4
    for measure in (uniformity, average_cosine):
        assert measure(vectors @ rotation).value == pytest.approx(measure(vectors).value)
        assert measure(vectors[order]).value == pytest.approx(measure(vectors).value)
    found = alignment(vectors, second)
    assert alignment(vectors @ rotation, second @ rotation).value == pytest.approx(found.value)
    assert alignment(vectors[order], second[order]).value == pytest.approx(found.value)
    assert found.low <= found.value <= found.high


def test_partition_isotropy_by_hand():
    """Two points on one axis: Z is e + e^-1 along it, both ways, and 2 across it."""
    vectors = np.array([[1.0, 0], [-1, 0]])
    assert partition_isotropy(vectors) == pytest.approx(2 / (math.e + 1 / math.e))
    # One point: the direction towards it against the one away from it.
    assert partition_isotropy(np.array([[1.0, 0]])) == pytest.approx(math.exp(-2))
    # Long vectors would overflow exp.
    assert partition_isotropy(np.array([[2000.0, 0], [-2000, 0]])) == pytest.approx(0)


def test_an_even_cross_is_isotropic():
    cross = np.vstack([np.eye(5), -np.eye(5)])
    assert partition_isotropy(cross) == pytest.approx(1)
    assert isoscore(cross) == pytest.approx(1)
    assert effective_rank(cross) == pytest.approx(5)
    assert average_cosine(cross).value == pytest.approx(-1 / 9)  # each has its opposite among nine others


def isoscore_in_steps(vectors):
    """IsoScore as the paper's algorithm 1 has it."""
    d = vectors.shape[1]
    variances = np.linalg.eigvalsh(np.cov(vectors.T))
    scaled = variances * math.sqrt(d) / np.linalg.norm(variances)
    defect = np.linalg.norm(scaled - 1) / math.sqrt(2 * (d - math.sqrt(d)))
    share = (d - defect**2 * (d - math.sqrt(d))) ** 2 / d**2
    return (d * share - 1) / (d - 1)


@given(seeds, st.integers(2, 8))
def test_isoscore_is_that_of_the_papers_steps(seed, d):
    vectors = drawn(seed, n=12, d=d) * np.arange(1, d + 1)
    assert isoscore(vectors) == pytest.approx(isoscore_in_steps(vectors), abs=1e-9)


def test_isoscore_of_a_line_is_nothing():
    assert isoscore(np.outer([1.0, 2, 5], [1, 1, 1])) == pytest.approx(0)


def test_effective_rank_by_hand():
    """Three rows on one axis and one on another: singular values sqrt(3) and 1."""
    p = math.sqrt(3) / (math.sqrt(3) + 1)
    wanted = math.exp(-p * math.log(p) - (1 - p) * math.log(1 - p))
    assert effective_rank(np.array([[1.0, 0, 0], [2, 0, 0], [1, 0, 0], [0, 1, 0]])) == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ([[1.0, 0], [np.nan, 1], [0, 1]], "vector 1 holds NaN"),
        ([[1.0, 0], [1, 1], [0, 0]], "vector 2 has length zero"),
        ([1.0, 2.0], "rows of a matrix"),
    ],
)
def test_vectors_without_a_direction_are_refused(vectors, words):
    for measure in (uniformity, average_cosine, partition_isotropy, isoscore, effective_rank):
        with pytest.raises(MeasureError, match=words):
            measure(np.array(vectors))


def test_equal_vectors_have_no_variance():
    with pytest.raises(MeasureError, match="all 5 vectors are equal"):
        isoscore(np.full((5, 3), 0.1))


def letters(texts):
    return np.array([[text.count(letter) + 0.1 for letter in "abc"] for text in texts], np.float32)


def test_texts_are_encoded_once_and_draws_are_repeatable():
    asked = []

    def encode(texts):
        asked.extend(texts)
        return letters(texts)

    encoder = FunctionEncoder(encode, "letters", 1, dimension=3)
    first, second = ["a", "ab", "abc", "a"], ["ab", "b", "cc", "ab"]
    found = measure_geometry(encoder, first, second)
    assert sorted(asked) == sorted(set(first + second))
    assert found.n_texts == 5
    assert found.alignment == alignment(letters(first), letters(second))
    assert found.uniformity == uniformity(letters(["a", "ab", "abc", "b", "cc"]))
    drawn_twice = [measure_geometry(encoder, first, second, most_texts=4, seed=7) for _ in range(2)]
    assert drawn_twice[0] == drawn_twice[1]
    assert drawn_twice[0].n_texts == 4
    table = found.outcome().markdown()
    assert f"{found.isoscore:.4f}" in table
    assert "span fewer" not in table


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (["a"], ["b", "c"], "1 first and 2 second"),
        (["a", " "], ["b", "c"], "text 1 is blank"),
        (["a", 3], ["b", "c"], "text 1 is 3, not a string"),
        ("ab", ["b", "c"], "single text"),
        (["a", "a"], ["a", "a"], "1 different texts are too few"),
        (["a"], ["b"], "at least"),
    ],
)
def test_texts_that_cannot_be_measured_are_refused(first, second, words):
    encoder = FunctionEncoder(letters, "letters", 1, dimension=3)
    with pytest.raises(MeasureError, match=words):
        measure_geometry(encoder, first, second)
