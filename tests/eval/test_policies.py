"""Policies: each preset gives the numbers of the evaluator it is named after; each choice does as it says."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.errors import MeasureError, RunError
from eval.measures import Policies, evaluate_run
from eval.policies import PRESETS

NAMES = {
    "nDCG": "ndcg",
    "nDCG@3": "ndcg_cut_3",
    "nDCG@10": "ndcg_cut_10",
    "AP": "map",
    "AP@5": "map_cut_5",
    "R@5": "recall_5",
    "RR": "recip_rank",
    "P@5": "P_5",
    "Rprec": "Rprec",
    "Bpref": "bpref",
    "Success@1": "success_1",
}
THEIRS = {
    "ndcg", "ndcg_cut.3,10", "map", "map_cut.5", "recall.5", "recip_rank", "P.5", "Rprec", "bpref", "success.1"
}  # fmt: skip

_IDS = st.text(alphabet="abC1é文\U0001f600", min_size=1, max_size=3)
# Equal scores, and scores that are equal only as 32-bit floats.
_SCORES = st.sampled_from([1.0, 2.0, 2.0 + 1e-12, 2.0 - 1e-12, 0.0, -0.0, -1.5, 1e39, 2e39]) | st.floats(-3, 3)
_RUNS = st.dictionaries(
    st.sampled_from("qrstu"), st.dictionaries(_IDS, _SCORES, min_size=1, max_size=15), min_size=1, max_size=5
)
_QRELS = st.dictionaries(
    st.sampled_from("qrstv"),
    st.dictionaries(_IDS, st.integers(0, 3), min_size=1, max_size=12),
    min_size=1,
    max_size=5,
)


def as_run(scored):
    return {query: list(documents.items()) for query, documents in scored.items()}


@settings(deadline=None, max_examples=300)
@given(qrels=_QRELS, scored=_RUNS, level=st.integers(1, 2), condensed=st.booleans())
def test_every_query_equals_pytrec_eval_with_ties(qrels, scored, level, condensed):
    policies = Policies(
        ties="trec_eval",
        missing="skip",
        relevance_level=level,
        unjudged="condensed" if condensed else "not relevant",
    )
    theirs = pytrec_eval.RelevanceEvaluator(
        qrels, THEIRS, relevance_level=level, judged_docs_only_flag=condensed
    ).evaluate(scored)
    if not theirs:
        with pytest.raises(RunError, match=r"none of the .* judged queries counts"):
            evaluate_run(as_run(scored), qrels, list(NAMES), policies)
        return
    ours = evaluate_run(as_run(scored), qrels, list(NAMES), policies)
    assert set(ours.per_query) == set(theirs)
    for query, values in ours.per_query.items():
        for (name, their_name), (our_name, value) in zip(NAMES.items(), values.items(), strict=True):
            assert ("rel=2" in our_name) == (level == 2 and not name.startswith("nDCG"))
            assert value == pytest.approx(theirs[query][their_name], abs=1e-12), (query, our_name)
    for (name, total), their_name in zip(ours.measures.items(), NAMES.values(), strict=True):
        assert total == pytest.approx(np.mean([row[their_name] for row in theirs.values()]), abs=1e-12), name


@settings(deadline=None, max_examples=150)
@given(qrels=_QRELS, scored=_RUNS)
def test_both_readings_of_ties(qrels, scored):
    """The order as returned is judged, and what trec_eval would make of equal scores is said where it differs."""
    run = {query: sorted(documents.items(), key=lambda pair: -pair[1]) for query, documents in scored.items()}
    names = ["nDCG@10", "AP", "RR"]
    ours = evaluate_run(run, qrels, names)
    sorted_anew = evaluate_run(run, qrels, names, Policies(ties="trec_eval"))
    assert {**ours.measures, **ours.other_ties} == sorted_anew.measures
    assert {**sorted_anew.measures, **sorted_anew.other_ties} == ours.measures
    assert ours.tied == sorted_anew.tied
    if ours.other_ties:
        assert ours.tied


def test_ties_of_32_bits_are_seen():
    run = {"q": [("a", 1.0 + 1e-12), ("b", 1.0)]}
    evaluation = evaluate_run(run, {"q": {"a": 1}}, ["RR"])
    assert (evaluation.measures, evaluation.tied, evaluation.other_ties) == ({"RR": 1.0}, 1, {"RR": 0.5})
    apart = evaluate_run({"q": [("a", 1.001), ("b", 1.0)]}, {"q": {"a": 1}}, ["RR"])
    assert (apart.tied, apart.other_ties) == (0, {})
    unmoved = evaluate_run({"q": [("b", 1.0), ("a", 1.0)]}, {"q": {"a": 1}}, ["RR"])
    assert (unmoved.tied, unmoved.other_ties) == (0, {})


@settings(deadline=None, max_examples=100)
@given(qrels=_QRELS, scored=_RUNS, empty=st.sampled_from("qrstu"), same=st.booleans())
def test_the_mteb_preset_equals_mteb(qrels, scored, empty, same):
    metrics = pytest.importorskip("mteb._evaluators.retrieval_metrics")
    # mteb looks up the judgements of every query of the run; a run of its own has no other queries.
    scored = {query: documents for query, documents in scored.items() if query in qrels}
    if empty in qrels:
        scored[empty] = {}
    if not any(scored.values()):
        return
    if same:
        scored = {query: {**documents, query: 2.0} for query, documents in scored.items()}
    cutoffs = [1, 3, 10]
    theirs = metrics.calculate_retrieval_scores(scored, qrels, cutoffs)
    names = [f"{name}@{k}" for name in ("nDCG", "AP", "R", "P", "RR", "Success") for k in cutoffs]
    ours = evaluate_run(as_run(scored), qrels, names, Policies.preset("mteb"))
    expected = {
        ours_name: values[f"{their_name}@{k}"]
        for name, their_name, values in (
            ("nDCG", "NDCG", theirs.ndcg),
            ("AP", "MAP", theirs.map),
            ("R", "Recall", theirs.recall),
            ("P", "P", theirs.precision),
            ("RR", "MRR", theirs.mrr),
            ("Success", "HitRate", theirs.hit_rate),
        )
        for k in cutoffs
        for ours_name in [f"{name}@{k}"]
    }
    assert ours.measures == pytest.approx(expected, abs=5.1e-6)  # they round to five digits


def test_the_beir_preset_leaves_the_query_itself_out():
    run, qrels = {"d1": [("d1", 3.0), ("d2", 2.0)], "d3": []}, {"d1": {"d2": 1}, "d3": {"d2": 1}, "d4": {"d2": 1}}
    evaluation = evaluate_run(run, qrels, ["RR"], Policies.preset("beir"))
    assert evaluation.per_query == {"d1": {"RR": 1.0}, "d3": {"RR": 0.0}}
    assert (evaluation.self_matches, evaluation.skipped, evaluation.missing) == (1, 1, ("d3", "d4"))


def test_missing_queries_and_those_without_relevant_documents():
    run = {"a": [("x", 1.0)], "b": [], "z": [("x", 1.0)]}
    qrels = {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 1}, "z": {"x": 0}}

    def mean(**choices):
        evaluation = evaluate_run(run, qrels, ["RR"], Policies(**choices))
        assert evaluation.missing == ("b", "c")
        assert evaluation.without_relevant == 1
        assert len(evaluation.per_query) + evaluation.skipped == 4
        return evaluation.measures["RR"]

    assert mean() == 1 / 4
    assert mean(missing="skip absent") == 1 / 3
    assert mean(missing="skip") == 1 / 2
    assert mean(without_relevant="skip") == 1 / 3
    assert mean(missing="skip", without_relevant="skip") == 1.0
    with pytest.raises(RunError, match="none of the 1 judged queries counts"):
        evaluate_run({}, {"a": {"x": 1}}, ["RR"], Policies(missing="skip"))


def test_duplicates_keep_their_best_place_and_are_counted():
    qrels = {"q": {"b": 1}}
    run = {"q": [("a", 3.0), ("a", 2.0), ("b", 1.0)]}
    with pytest.raises(RunError, match="'a' is in the ranking twice"):
        evaluate_run(run, qrels, ["RR"])
    evaluation = evaluate_run(run, qrels, ["RR"], Policies(duplicates="first"))
    assert (evaluation.measures["RR"], evaluation.duplicates) == (0.5, 1)
    unsorted = {"q": [("a", 1.0), ("b", 2.0), ("a", 3.0)]}
    evaluation = evaluate_run(unsorted, qrels, ["RR"], Policies(duplicates="first", ties="trec_eval"))
    assert (evaluation.measures["RR"], evaluation.duplicates) == (0.5, 1)


def test_condensed_lists():
    run = {"q": [("unjudged", 4.0), ("pooled only", 3.0), ("bad", 2.0), ("good", 1.0)]}
    qrels = {"q": {"good": 1, "bad": 0, "pooled only": -1}}
    evaluation = evaluate_run(run, qrels, ["RR"], Policies(unjudged="condensed"))
    assert (evaluation.measures["RR"], evaluation.unjudged_documents) == (0.5, 2)
    assert evaluate_run(run, qrels, ["RR"]).measures["RR"] == 0.25


def test_level_and_gains_are_written_into_the_names():
    run, qrels = {"q": [("a", 2.0), ("b", 1.0)]}, {"q": {"a": 1, "b": 3}}
    policies = Policies(relevance_level=2, gains="exponential")
    values = evaluate_run(run, qrels, ["RR@10", "P(rel=1)@2", "nDCG@10"], policies).measures
    assert values["RR(rel=2)@10"] == 0.5
    assert values["P@2"] == 1.0  # ir_measures leaves rel=1 out of the name
    exponential = (1 + 7 / math.log2(3)) / (7 + 1 / math.log2(3))
    assert values["nDCG(dcg='exp-log2')@10"] == pytest.approx(exponential, abs=1e-5)
    # A query whose grades do not reach the level has nothing relevant.
    assert evaluate_run(run, {"q": {"a": 1}}, ["RR"], Policies(relevance_level=2)).without_relevant == 1


def test_each_choice_has_a_sentence_of_its_own():
    described = {name: PRESETS[name].describe() for name in PRESETS}
    assert len({tuple(sentences.values()) for sentences in described.values()}) == len(PRESETS)
    assert described["engine"] == Policies().describe()
    keys = list(Policies().describe())
    for choice in (
        {"missing": "skip"},
        {"missing": "skip absent"},
        {"without_relevant": "skip"},
        {"ties": "trec_eval"},
        {"ties": "mteb"},
        {"unjudged": "condensed"},
        {"duplicates": "first"},
        {"relevance_level": 2},
        {"gains": "exponential"},
        {"ignore_identical_ids": True},
    ):
        changed = Policies(**choice).describe()
        assert list(changed) == keys
        assert sum(changed[key] != Policies().describe()[key] for key in keys) == 1, choice


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"missing": "ignore"}, "missing is one of 'zero', 'skip', 'skip absent', not 'ignore'"),
        ({"ties": "random"}, "ties is one of"),
        ({"relevance_level": 0}, "at least 1, not 0"),
        ({"relevance_level": True}, "not True"),
    ],
)
def test_unknown_choices_are_refused(choice, words):
    with pytest.raises(MeasureError, match=words):
        Policies(**choice)
    with pytest.raises(MeasureError, match="no preset of policies 'anserini'; there are engine, trec_eval, mteb, beir"):
        Policies.preset("anserini")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mteb", Policies.preset("mteb")),
        ("trec_eval,missing=zero", Policies(ties="trec_eval")),
        ("missing=skip, unjudged=condensed", Policies(missing="skip", unjudged="condensed")),
        ("engine,relevance_level=2,ignore_identical_ids=true", Policies(ignore_identical_ids=True, relevance_level=2)),
        ("beir,ignore_identical_ids=false,ties=as returned", Policies(missing="skip absent")),
    ],
)
def test_a_preset_with_others_than_its_own(text, expected):
    assert Policies.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("treceval", "no preset of policies 'treceval'"),
        ("engine,mising=skip", "'mising=skip' is no policy of the form NAME=VALUE; there are ignore_identical_ids"),
        ("engine,missing", "'missing' is no policy"),
        ("missing=none", "the policy missing is one of 'zero', 'skip', 'skip absent', not 'none'"),
        ("relevance_level=0", "at least 1, not 0"),
        ("relevance_level=two", "at least 1, not 'two'"),
        ("ignore_identical_ids=yes", "one of True, False, not 'yes'"),
        ("missing=zero,missing=skip", "missing is given twice"),
    ],
)
def test_policies_that_there_are_not(text, message):
    with pytest.raises(MeasureError, match=re.escape(message)):
        Policies.parse(text)
