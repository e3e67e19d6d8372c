"""STS by all, mean and wmean: hand values, another library's correlations, and faults in files."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from eval.errors import MeasureError, TaskError
from eval.probes.data import read_sts_years, read_subsets
from eval.probes.sts_aggregation import aggregate_year, measure_sts_aggregation
from eval.scored_pairs import ScoredPairs
from retrieval.encoders import FunctionEncoder


def test_the_three_ways_by_hand():
    """Both subsets are in perfect order, but one lies above the other in the system's eyes only.

    Ranks of gold: 1 to 4 and 1 to 2 tied with them; the system ranks the second subset last.
    """
    subsets = {"one": ([1, 2, 3, 4], np.array([1.0, 2, 3, 4])), "two": ([1, 2], np.array([8.0, 9]))}
    year = aggregate_year("year", subsets, resamples=20)
    # Gold's ranks are 1.5 3.5 5 6 1.5 3.5, the system's 1 to 6: covariance 2.5, variances 16.5 and 17.5 (all times 6).
    assert year.all.value == pytest.approx(spearmanr([1, 2, 3, 4, 1, 2], [1, 2, 3, 4, 8, 9]).statistic)
    assert year.all.value == pytest.approx(2.5 / math.sqrt(16.5 * 17.5))
    assert (year.mean.value, year.wmean.value) == (pytest.approx(1), pytest.approx(1))
    assert year.all_less_mean.value == pytest.approx(year.all.value - 1)
    assert {name: each.n for name, each in year.subsets.items()} == {"one": 4, "two": 2}


def test_weights_are_numbers_of_pairs():
    subsets = {"up": ([1, 2, 3], np.array([1.0, 2, 3])), "down": ([1, 2], np.array([2.0, 1]))}
    year = aggregate_year("year", subsets, resamples=20)
    assert year.mean.value == pytest.approx(0)
    assert year.wmean.value == pytest.approx((3 - 2) / 5)


@given(st.integers(0, 10**6))
def test_correlations_equal_scipys_and_order_changes_nothing(seed):
    draw = np.random.default_rng(seed)
    subsets = {name: (draw.integers(0, 6, 12), draw.normal(size=12).round(1)) for name in "abc"}
    if any(len(set(side)) < 2 for sides in subsets.values() for side in sides):
        return
    year = aggregate_year("year", subsets, resamples=2)
    each = [spearmanr(*sides).statistic for sides in subsets.values()]
    assert [estimate.value for estimate in year.subsets.values()] == pytest.approx(each)
    whole = spearmanr(*(np.concatenate(side) for side in zip(*subsets.values(), strict=True))).statistic
    assert year.all.value == pytest.approx(whole)
    order = draw.permutation(12)
    shuffled = {name: (gold[order], scores[order]) for name, (gold, scores) in subsets.items()}
    again = aggregate_year("year", shuffled, resamples=2)
    for way in ("all", "mean", "wmean"):
        assert getattr(again, way).value == pytest.approx(getattr(year, way).value)


def test_one_subset_is_the_same_all_ways():
    gold, scores = np.arange(9), np.array([1.0, 3, 2, 4, 6, 5, 7, 9, 8])
    year = aggregate_year("year", {"only": (gold, scores)}, resamples=50)
    assert year.all == year.mean == year.wmean == year.subsets["only"]
    assert year.all.low < year.all.value <= year.all.high <= 1


@pytest.mark.parametrize(
    ("subsets", "words"),
    [
        ({}, "no subsets"),
        ({"a": ([1, 2], np.array([1.0, 1]))}, "all 2 values are 1"),
        ({"a": ([1, 2], np.array([1.0, np.nan]))}, "value 1 is nan"),
        ({"a": ([1], np.array([1.0]))}, "two or more values"),
        ({"a": ([1, 2, 3], np.array([1.0, 2]))}, "3 gold scores, but 2"),
    ],
)
def test_scores_without_a_correlation_are_refused(subsets, words):
    with pytest.raises(MeasureError, match=words):
        aggregate_year("year", subsets, resamples=20)


def letters(texts):
    return np.array([[text.count(letter) + 0.1 for letter in "abc"] for text in texts], np.float32)


def pairs(name, first, second, gold):
    return ScoredPairs(name, first, second, np.array(gold))


def test_an_encoder_reads_each_sentence_once():
    asked = []

    def encode(texts):
        asked.extend(texts)
        return letters(texts)

    encoder = FunctionEncoder(encode, "letters", 1, dimension=3)
    one = pairs("one", ["a", "ab", "b"], ["ab", "c", "bb"], [0.5, 0, 1])
    two = pairs("two", ["a", "ab"], ["c", "ab"], [0, 1])
    found = measure_sts_aggregation(encoder, {"STS1": [one, two], "STS2": [one]}, resamples=20)
    assert sorted(asked) == ["a", "ab", "b", "bb", "c"]
    first, second = letters(one.first), letters(one.second)
    cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    wanted = spearmanr(one.gold, cosines).statistic
    assert found.years[1].all.value == pytest.approx(wanted)
    assert found.average["all"] == pytest.approx((found.years[0].all.value + wanted) / 2)
    assert found == measure_sts_aggregation(encoder, {"STS1": [one, two], "STS2": [one]}, resamples=20)
    assert "STS2" in found.outcome().markdown()
    with pytest.raises(MeasureError, match="two subsets named 'one'"):
        measure_sts_aggregation(encoder, {"STS1": [one, one]})
    with pytest.raises(MeasureError, match="no year"):
        measure_sts_aggregation(encoder, {})
    with pytest.raises(MeasureError, match="all 2 values are 1"):
        measure_sts_aggregation(encoder, {"STS1": [pairs("x", ["a", "b"], ["a", "b"], [0, 1])]})


def test_subsets_of_a_file(tmp_path):
    lines = ["score\tsource\tsentence1\tsentence2", "5\tb\tOne\tTwo", "2.5\ta\tThree\tFour", "0\tb\tFive\tSix"]
    (tmp_path / "sts99.test.tsv").write_text("\n".join(lines), encoding="utf-8")
    (subsets,) = read_sts_years(tmp_path).values()
    assert [(each.name, each.first, each.gold.tolist()) for each in subsets] == [
        ("b", ["One", "Five"], [1, 0]),
        ("a", ["Three"], [0.5]),
    ]
    (whole,) = read_subsets(tmp_path / "sts99.test.tsv")
    assert len(whole) == 3


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("six\ta\tx\ty", "score is 'six', not a number"),
        ("nan\ta\tx\ty", "a finite number"),
        ("6\ta\tx\ty", "score 6 is not between 0 and 5"),
        ("1\ta\t \ty", "sentence1 is ' ', not a text"),
        ("1\ta\tx", "3 columns, but the header has 4"),
    ],
)
def test_faults_in_files_are_named(tmp_path, line, words):
    path = tmp_path / "pairs.tsv"
    path.write_text(f"score\tsource\tsentence1\tsentence2\n1\ta\tx\ty\n{line}\n", encoding="utf-8")
    with pytest.raises(TaskError, match=words) as caught:
        read_subsets(path, "source")
    assert "pairs.tsv:3" in str(caught.value)


def test_missing_files_and_columns_are_named(tmp_path):
    with pytest.raises(TaskError, match="no folder"):
        read_sts_years(tmp_path / "none")
    with pytest.raises(TaskError, match=r"no stsYY\.test\.tsv"):
        read_sts_years(tmp_path)
    (tmp_path / "pairs.tsv").write_text("score\tsentence1\tsentence2\n1\tx\ty\n", encoding="utf-8")
    with pytest.raises(TaskError, match="no column 'source'"):
        read_subsets(tmp_path / "pairs.tsv", "source")


def test_the_real_files_have_the_published_subsets(data):
    years = read_sts_years(data / "sts12-16")
    assert {year: sorted(len(each) for each in subsets) for year, subsets in years.items()} == {
        "STS12": [399, 459, 750, 750, 750],
        "STS13": [189, 561, 750],
        "STS14": [300, 450, 750, 750, 750, 750],
        "STS15": [375, 375, 750, 750, 750],
        "STS16": [209, 230, 244, 249, 254],
    }
