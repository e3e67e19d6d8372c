"""Measures against hand-computed values, a brute-force oracle and trec_eval's own code."""

from __future__ import annotations

import math

import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.errors import MeasureError, RunError
from eval.measure_names import mteb_name
from eval.measures import DEFAULT_MEASURES, Policies, depth_needed, evaluate_run, parse_measures

QRELS = {"q1": {"a": 2, "b": 1, "c": 0}, "q2": {"x": 1}, "q3": {"y": 3}}
RUN = {
    "q1": [("c", 9.0), ("a", 8.0), ("u", 7.0), ("b", 6.0)],  # relevant at ranks 2 and 4
    "q2": [("x", 1.5)],
}  # q3 is missing


def test_hand_computed_values():
    evaluation = evaluate_run(RUN, QRELS)
    dcg = 2 / math.log2(3) + 1 / math.log2(5)
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert evaluation.per_query["q1"] == pytest.approx(
        {"nDCG@10": dcg / ideal, "R@100": 1.0, "RR@10": 1 / 2, "AP@100": (1 / 2 + 2 / 4) / 2}
    )
    assert evaluation.per_query["q2"] == {"nDCG@10": 1.0, "R@100": 1.0, "RR@10": 1.0, "AP@100": 1.0}
    assert evaluation.per_query["q3"] == {"nDCG@10": 0.0, "R@100": 0.0, "RR@10": 0.0, "AP@100": 0.0}
    assert evaluation.measures == pytest.approx(
        {"nDCG@10": (dcg / ideal + 1) / 3, "R@100": 2 / 3, "RR@10": 1.5 / 3, "AP@100": 1.5 / 3}
    )
    assert evaluation.missing == ("q3",)
    assert list(evaluation.measures) == list(DEFAULT_MEASURES)


def test_missing_queries_count_the_same_whether_absent_or_empty():
    assert evaluate_run({**RUN, "q3": []}, QRELS) == evaluate_run(RUN, QRELS)
    nothing = evaluate_run({}, QRELS, [*DEFAULT_MEASURES, "Judged@10", "P@5", "Accuracy"])
    assert set(nothing.measures.values()) == {0.0}
    assert nothing.missing == ("q1", "q2", "q3")


def test_queries_without_relevant_documents_count_as_zero_and_are_counted():
    evaluation = evaluate_run(
        {"q": [("a", 1.0)], "z": [("a", 1.0)]}, {"q": {"a": 1}, "z": {"a": 0, "b": -1}, "none": {}}
    )
    assert evaluation.without_relevant == 1
    assert set(evaluation.per_query) == {"q", "z"}
    assert set(evaluation.measures.values()) == {0.5}


def test_queries_of_the_run_without_judgements_do_not_count():
    evaluation = evaluate_run({**RUN, "extra": [("a", 1.0)]}, QRELS)
    assert evaluation.unjudged_queries == 1
    assert evaluation.measures == evaluate_run(RUN, QRELS).measures


def test_ties_keep_the_order_of_the_ranking():
    """trec_eval would put the higher document id first, whatever the search returned."""
    qrels = {"q": {"a": 1}}
    assert evaluate_run({"q": [("a", 1.0), ("z", 1.0)]}, qrels, ["RR"]).measures == {"RR": 1.0}
    assert evaluate_run({"q": [("z", 1.0), ("a", 1.0)]}, qrels, ["RR"]).measures == {"RR": 0.5}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate({"q": {"a": 1.0, "z": 1.0}})
    assert theirs["q"]["recip_rank"] == 0.5


def test_self_matches_are_kept_unless_the_policy_removes_them():
    run = {"d1": [("d1", 3.0), ("d2", 2.0)]}
    qrels = {"d1": {"d2": 1}}
    assert evaluate_run(run, qrels, ["RR@10"]).measures["RR@10"] == 0.5
    removed = evaluate_run(run, qrels, ["RR@10"], Policies(ignore_identical_ids=True))
    assert removed.measures["RR@10"] == 1.0
    assert removed.self_matches == 1
    assert Policies().describe() != Policies(ignore_identical_ids=True).describe()


def test_ids_of_every_script_with_spaces_and_newlines():
    qrels = {"a query\n": {"ein Dokument\n": 1, "文 書": 2}}
    run = {"a query\n": [("文 書", 2.0), ("ein Dokument\n", 1.0)]}
    # ERR and exponential gains are computed by a tool that reads columns from files.
    measures = ["nDCG@10", "RR@10", "Judged@10", "ERR@10", "nDCG(dcg='exp-log2')@10"]
    values = evaluate_run(run, qrels, measures).measures
    assert values["nDCG@10"] == values["RR@10"] == values["Judged@10"] == values["nDCG(dcg='exp-log2')@10"] == 1.0
    assert values["ERR@10"] == pytest.approx(3 / 16 + 13 / 16 * 1 / 16 / 2, abs=1e-5)


def test_graded_gains_are_linear_and_binary_measures_take_a_threshold():
    qrels = {"q": {"a": 1, "b": 3}}
    run = {"q": [("a", 2.0), ("b", 1.0)]}
    values = evaluate_run(run, qrels, ["nDCG@10", "RR@10", "RR(rel=2)@10", "P(rel=2)@2"]).measures
    assert values["nDCG@10"] == pytest.approx((1 + 3 / math.log2(3)) / (3 + 1 / math.log2(3)))
    assert (values["RR@10"], values["RR(rel=2)@10"], values["P(rel=2)@2"]) == (1.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("ranking", "words"),
    [
        ([("a", 2.0), ("b", 1.0), ("a", 0.5)], "twice"),
        ([("a", float("nan"))], "nan"),
        ([("a", float("inf"))], "inf"),
        ([("a", 1.0), ("b", 2.0)], "sort the ranking"),
    ],
)
def test_impossible_rankings_are_refused(ranking, words):
    with pytest.raises(RunError, match=words):
        evaluate_run({"q": ranking}, {"q": {"a": 1}})


def test_empty_qrels_are_refused():
    with pytest.raises(RunError, match="no query is judged"):
        evaluate_run(RUN, {"q": {}})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ndcg@10", "did you mean nDCG@10"),
        ("MPR@10", "did you mean"),
        ("quality", "unknown measure 'quality'"),
        ("R", "need a cutoff"),
        ("nDCG@", "cannot read"),
        ("nDCG(colour=3)@10", "cannot read"),
        ("nDCG@0", "cutoff must be a whole number of at least 1"),
        ("nDCG@-5", "cannot read"),
        ("nDCG@1.5", "cannot read"),
        ("P@True", "cutoff must be"),
        ("P(rel=0)@5", "rel must be"),
        ("", "cannot read"),
        ("__import__('os')", "cannot read"),
    ],
)
def test_unusable_measures_are_refused_with_advice(name, words):
    with pytest.raises(MeasureError, match=words.replace("(", r"\(")) as caught:
        parse_measures([name])
    assert "\n" not in str(caught.value)


def test_measures_are_parsed_once_each_in_order():
    assert [str(measure) for measure in parse_measures(["R@5", "MRR@10", "RR@10", "nDCG@10"])] == [
        "R@5",
        "RR@10",
        "nDCG@10",
    ]
    with pytest.raises(MeasureError, match="no measure given"):
        parse_measures([])


def test_names_of_mteb_lead_there_and_back():
    theirs = ["ndcg_at_10", "map_at_1000", "recall_at_100", "mrr_at_10", "precision_at_5", "hit_rate_at_1"]
    measures = parse_measures(theirs)
    assert [str(measure) for measure in measures] == ["nDCG@10", "AP@1000", "R@100", "RR@10", "P@5", "Success@1"]
    assert [mteb_name(measure) for measure in measures] == theirs
    assert [mteb_name(measure) for measure in parse_measures(["AP", "RR(rel=2)@10", "ERR@10"])] == [None] * 3
    with pytest.raises(MeasureError, match="cutoff must be"):
        parse_measures(["ndcg_at_0"])


def test_depth_is_the_deepest_cutoff():
    assert depth_needed(parse_measures(DEFAULT_MEASURES)) == 100
    assert depth_needed(parse_measures(["P@5"])) == 5
    assert depth_needed(parse_measures(["P@5", "AP"])) == 1000


def _brute_force(ranking: list[str], grades: dict[str, int]) -> dict[str, float]:
    gains = [max(grades.get(document, 0), 0) for document in ranking]
    ideal = sorted((max(grade, 0) for grade in grades.values()), reverse=True)
    dcg, best = (sum(gain / math.log2(i + 2) for i, gain in enumerate(values[:10])) for values in (gains, ideal))
    n_relevant = sum(grade > 0 for grade in grades.values())
    ranks = [i for i, gain in enumerate(gains, start=1) if gain > 0]
    return {
        "nDCG@10": dcg / best if best else 0.0,
        "R@100": len(ranks) / n_relevant if n_relevant else 0.0,
        "RR@10": 1 / ranks[0] if ranks and ranks[0] <= 10 else 0.0,
        "AP@100": sum(n / rank for n, rank in enumerate(ranks, start=1)) / n_relevant if n_relevant else 0.0,
    }


_IDS = st.text(alphabet="ab d\né文", min_size=1, max_size=3)
_GRADES = st.dictionaries(_IDS, st.integers(-1, 3), max_size=12)
_RANKINGS = st.lists(st.tuples(_IDS, st.integers(-3, 3).map(float)), max_size=25, unique_by=lambda pair: pair[0]).map(
    lambda pairs: sorted(pairs, key=lambda pair: -pair[1])
)


@settings(deadline=None, max_examples=150)
@given(qrels=st.dictionaries(_IDS, _GRADES, max_size=4), run=st.dictionaries(_IDS, _RANKINGS, max_size=4))
def test_any_run_equals_brute_force(qrels, run):
    judged = {query: grades for query, grades in qrels.items() if grades}
    if not judged:
        with pytest.raises(RunError):
            evaluate_run(run, qrels)
        return
    evaluation = evaluate_run(run, qrels)
    expected = {
        query: _brute_force([document for document, _ in run.get(query, [])], grades)
        for query, grades in judged.items()
    }
    assert set(evaluation.per_query) == set(expected)
    for query, values in expected.items():
        assert evaluation.per_query[query] == pytest.approx(values)
    for measure, mean in evaluation.measures.items():
        assert mean == pytest.approx(sum(values[measure] for values in expected.values()) / len(expected))


@settings(deadline=None, max_examples=100)
@given(
    qrels=st.dictionaries(
        st.sampled_from("qrs"), st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3), min_size=1), min_size=1
    ),
    run=st.dictionaries(st.sampled_from("qrs"), st.permutations("abcdefghij"), min_size=1),
)
def test_runs_without_ties_equal_trec_eval(qrels, run):
    ours = evaluate_run(
        {query: [(document, float(-rank)) for rank, document in enumerate(order)] for query, order in run.items()},
        qrels,
        ["nDCG@10", "R@100", "RR", "AP@100", "P@5"],
    )
    scored = {query: {document: float(-rank) for rank, document in enumerate(order)} for query, order in run.items()}
    names = {"nDCG@10": "ndcg_cut_10", "R@100": "recall_100", "RR": "recip_rank", "AP@100": "map_cut_100", "P@5": "P_5"}
    theirs = pytrec_eval.RelevanceEvaluator(
        qrels, {"ndcg_cut.10", "recall.100", "recip_rank", "map_cut.100", "P.5"}
    ).evaluate(scored)
    for query in set(qrels) & set(run):
        assert ours.per_query[query] == {name: theirs[query][theirs_name] for name, theirs_name in names.items()}
