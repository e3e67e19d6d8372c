"""Comparison of systems over tasks: hand-computed, by enumeration, against scipy; and what may not be compared."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eval.comparison import compare_results, item_differences
from eval.errors import ComparisonError
from eval.significance import holm
from eval.tasks.base import TaskResult


def ranking(system, values, task="SciFact", **more):
    values = values if isinstance(values, dict) else {f"q{n}": float(value) for n, value in enumerate(values)}
    mean = float(np.mean(list(values.values()))) if values else 0.0
    return TaskResult(task, "Retrieval", system, "nDCG@10", {"nDCG@10": mean}, values, n_items=len(values), **more)


def similarity(system, gold, predicted, task="STS"):
    score = float(stats.spearmanr(gold, predicted).statistic)
    return TaskResult(
        task,
        "STS",
        system,
        "spearman",
        {"spearman": score},
        gold=list(gold),
        predicted=list(predicted),
        n_items=len(gold),
    )


A = [0.5, 0.25, 0.0, 0.75, 1.0, 0.5]
B = [0.75, 0.5, 0.5, 0.75, 0.75, 1.0]


def test_a_pair_by_hand():
    (found,) = compare_results([ranking("a", A), ranking("b", B)]).pairs
    differences = np.subtract(B, A)  # +0.25 +0.25 +0.5 0 -0.25 +0.5
    assert (found.first, found.second, found.n) == ("a", "b", 6)
    assert (found.wins, found.ties, found.losses) == (4, 1, 1)
    assert found.difference == pytest.approx(1.25 / 6)
    assert found.dominance == pytest.approx(3 / 6)
    assert found.d_z == pytest.approx(differences.mean() / np.std(differences, ddof=1))
    signs = itertools.product((-1, 1), repeat=6)
    assert found.p == pytest.approx(np.mean([abs(np.dot(each, differences)) >= 1.25 for each in signs]))
    assert found.p_t == pytest.approx(stats.ttest_rel(B, A).pvalue)
    assert found.p_adjusted == found.p, "one test needs no correction"
    assert found.low < found.difference < found.high
    assert not found.note


values = st.lists(st.tuples(*[st.integers(0, 10)] * 3), min_size=2, max_size=12)


@given(values)
def test_the_other_way_round_everything_is_mirrored(rows):
    columns = [
        ranking(name, np.array(column) / 10) for name, column in zip("abc", zip(*rows, strict=True), strict=True)
    ]
    there, back = compare_results(columns), compare_results(columns[::-1])
    for one in there.pairs:
        (other,) = [each for each in back.pairs if (each.first, each.second) == (one.second, one.first)]
        assert other.difference == pytest.approx(-one.difference)
        assert (other.wins, other.ties, other.losses) == (one.losses, one.ties, one.wins)
        assert (other.p, other.p_adjusted) == pytest.approx((one.p, one.p_adjusted))
        assert (other.low, other.high) == pytest.approx((-one.high, -one.low))
        assert other.dominance == pytest.approx(-one.dominance)


@given(values)
def test_counts_and_difference_agree_with_the_items(rows):
    first, second, _ = (
        ranking(name, np.array(column) / 10) for name, column in zip("abc", zip(*rows, strict=True), strict=True)
    )
    (found,) = compare_results([first, second]).pairs
    items = item_differences(first, second)
    assert found.wins + found.ties + found.losses == found.n == len(items)
    assert found.difference == pytest.approx(second.score - first.score)
    assert found.wins == sum(one.difference > 0 for one in items)
    assert found.losses == sum(one.difference < 0 for one in items)


def test_rounding_is_no_difference():
    sums = [sum([0.1] * 3), 0.5, 0.7]
    (found,) = compare_results([ranking("a", sums), ranking("b", [0.3, 0.5, 0.7])]).pairs
    assert (found.wins, found.ties, found.losses) == (0, 3, 0)
    assert (found.difference, found.p, found.p_t, found.d_z) == (0, 1, 1, 0)
    assert found.better() is None


def test_a_difference_that_never_varies_has_no_t():
    (found,) = compare_results([ranking("a", A), ranking("b", np.array(A) + 0.125)]).pairs
    assert (found.p_t, found.d_z) == (None, None)
    assert found.p == pytest.approx(2 / 2**6)


def test_holm_goes_over_the_stated_family():
    generator = np.random.default_rng(7)
    results = [
        ranking(system, np.clip(generator.normal(0.4 + shift, 0.2, 40), 0, 1), task)
        for task, step in (("one", 0.03), ("two", 0.05))
        for system, shift in (("a", 0.0), ("b", step), ("c", 2 * step))
    ]
    for family, groups in (("task", [range(3), range(3, 6)]), ("all", [range(6)])):
        found = compare_results(results, family=family).pairs
        for places in groups:
            for kind in ("p", "p_t"):
                wanted = holm([getattr(found[place], kind) for place in places])
                assert [getattr(found[place], f"{kind}_adjusted") for place in places] == wanted


def test_against_a_baseline():
    results = [ranking(name, values) for name, values in (("a", A), ("b", B), ("c", A[::-1]))]
    found = compare_results(results, baseline="b")
    assert [(one.first, one.second) for one in found.pairs] == [("b", "a"), ("b", "c")]
    with pytest.raises(ComparisonError, match="'d' is not among the systems: a, b, c"):
        compare_results(results, baseline="d")


def test_who_is_better_than_whom():
    good, bad = ranking("good", np.linspace(0.5, 1, 30)), ranking("bad", np.linspace(0, 0.4, 30))
    found = compare_results([bad, good, ranking("same", np.linspace(0.5, 1, 30))])
    assert found.worse_than("SciFact", "good") == {"bad"}
    assert found.worse_than("SciFact", "bad") == set()
    assert found.worse_than("another", "good") == set()


def test_the_order_of_items_does_not_matter():
    back = ranking("b", dict(reversed([(f"q{n}", value) for n, value in enumerate(B)])))
    assert compare_results([ranking("a", A), back]).pairs == compare_results([ranking("a", A), ranking("b", B)]).pairs


def test_different_items_are_an_error_or_left_out():
    one = ranking("a", {f"q{n}": 0.1 * n for n in range(6)})
    other = ranking("b", {f"q{n}": 0.1 * n for n in (0, 1, 2, 9)})
    with pytest.raises(ComparisonError, match=r"only 'a' has 'q3', 'q4', 'q5'; only 'b' has 'q9'"):
        compare_results([one, other])
    (found,) = compare_results([one, other], items="shared").pairs
    assert (found.n, found.ties) == (3, 3)
    assert "4 items that not all systems have" in found.note
    with pytest.raises(ComparisonError, match="no item"):
        compare_results([one, ranking("b", {"x": 1.0})], items="shared")


def test_correlations_are_compared_by_bootstrap():
    generator = np.random.default_rng(1)
    gold = generator.integers(0, 6, 300).astype(float)
    far, near = gold + generator.normal(0, 4, 300), gold + generator.normal(0, 1, 300)
    (found,) = compare_results([similarity("far", gold, far), similarity("near", gold, near)]).pairs
    wanted = stats.spearmanr(gold, near).statistic - stats.spearmanr(gold, far).statistic
    assert found.difference == pytest.approx(wanted)
    assert 0 < found.low < wanted < found.high
    assert (found.test, found.p, found.p_t, found.wins) == ("bootstrap", 2 / 2000, None, None)
    (same,) = compare_results([similarity("far", gold, far), similarity("same", gold, far)]).pairs
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_gold_scores_have_to_be_the_same():
    gold = [0.0, 1.0, 2.0, 3.0]
    with pytest.raises(ComparisonError, match="pair 3 differs"):
        compare_results([similarity("a", gold, gold), similarity("b", [0.0, 1.0, 5.0, 3.0], gold)])
    with pytest.raises(ComparisonError, match="4 and 3 pairs"):
        compare_results([similarity("a", gold, gold), similarity("b", gold[:3], gold[:3])])


def test_constant_predictions_have_no_interval():
    gold = [0.0, 1.0, 2.0, 3.0]
    flat = TaskResult("STS", "STS", "flat", "spearman", {"spearman": 0.0}, gold=gold, predicted=[0.5] * 4, n_items=4)
    (found,) = compare_results([similarity("a", gold, gold), flat]).pairs
    assert (found.difference, found.p, found.low) == (-1, None, None)
    assert "same similarity" in found.note


def test_scores_without_items_are_a_difference_only():
    a, b = (
        TaskResult("Twenty", "Clustering", name, "v_measure", {"v_measure": score})
        for name, score in (("a", 0.5), ("b", 0.625))
    )
    (found,) = compare_results([a, b]).pairs
    assert (found.difference, found.p, found.low, found.wins) == (0.125, None, None, None)
    assert "only the difference" in found.note


def test_a_score_that_is_no_mean_is_said():
    odd = TaskResult("SciFact", "Retrieval", "b", "nDCG@10", {"nDCG@10": 0.9}, {f"q{n}": v for n, v in enumerate(B)})
    (found,) = compare_results([ranking("a", A), odd]).pairs
    assert "not the mean" in found.note


def test_what_cannot_be_compared():
    with pytest.raises(ComparisonError, match="two different results of system 'a' on task 'SciFact'"):
        compare_results([ranking("a", A), ranking("a", B)])
    with pytest.raises(ComparisonError, match="main score"):
        compare_results([ranking("a", A), TaskResult("SciFact", "Retrieval", "b", "RR@10", {"RR@10": 1.0})])
    with pytest.raises(ComparisonError, match="'b' is not finite"):
        compare_results([ranking("a", A), ranking("b", [*B[:5], float("nan")])])
    assert compare_results([ranking("a", A), ranking("a", A)]).pairs == (), "the same result twice is one"


def test_systems_have_to_be_measured_on_the_same_data():
    def on(system, definition="d", digest="1", references=()):
        task = {"definition": {"name": definition}, "files": {"a": digest, "b": "0"}, "references": list(references)}
        return ranking(system, A, settings={"task": task})

    compare_results([on("a"), on("b", references=["a new figure"]), ranking("c", B)])
    with pytest.raises(ComparisonError, match=r"'a' and 'b' were measured on other files \(a\)"):
        compare_results([on("a"), on("b", digest="2")])
    with pytest.raises(ComparisonError, match="'a' and 'b' were measured on another definition"):
        compare_results([on("a"), on("b", definition="e")])


def test_more_tests_than_draws_can_decide_are_said():
    def correction(n, family):
        rows = [ranking(f"s{each}", np.linspace(0, each / n, 20)) for each in range(n)]
        return compare_results(rows, family=family).describe()["correction"]

    within = "significant below 0.05"
    assert correction(3, "all") == f"Holm, over all tests of all tasks; {within}"
    assert correction(32, "task") == f"Holm, over all tests of one task; {within}", "496 / 10,000 is below 0.05"
    assert "528 tests in a family are more than the draws can tell apart" in correction(33, "task")
