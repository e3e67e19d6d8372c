"""Evaluating a collection: what is reported is what ran, with everything that is needed to believe it."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from eval.collection_evaluation import evaluate_collection
from eval.errors import MeasureError
from eval.measures import Policies, evaluate_run
from eval.provenance import package_versions
from eval.testsets import TestSet
from retrieval import FunctionReranker, parse_stages
from tests.eval.word_overlap import QRELS, TESTSET, WordOverlap


def test_a_report_holds_the_values_and_how_they_came_about():
    engine = WordOverlap()
    report = evaluate_collection(engine, TESTSET, ["nDCG@10", "RR@5"], settings={"documents": 4}, minimum=2)
    assert report.measures == evaluate_run(report.run, QRELS, ["nDCG@10", "RR@5"]).measures
    assert report.measures["RR@5"] == pytest.approx(2 / 5)  # queries 3, 4 and 5 have no results
    assert (report.k, report.mode, report.unknown_documents) == (10, "overlap", 1)
    content = json.loads(report.to_json(per_query=True))
    assert content["queries"] == {"judged": 5, "missing": 3, "without_text": 1, "blank": 1, "without_relevant": 0}
    assert content["options"] == {"minimum": 2}
    assert content["settings"] == {"documents": 4}
    assert content["policies"] == Policies().describe()
    assert content["per_query"]["1"] == {"nDCG@10": 1.0, "RR@5": 1.0}
    assert content["latency_ms"]["n"] == 3
    assert content["latency_ms"]["p50"] <= content["latency_ms"]["p95"]
    assert content["versions"]["ir-measures"] == package_versions()["ir-measures"]
    assert "per_query" not in json.loads(report.to_json())


def test_models_are_reported_by_their_identity():
    class Named(WordOverlap):
        def search_many(self, texts, k=10, stages="", rerankers=None):
            return super().search_many(texts, k)

    rerankers = {"mono": FunctionReranker(len, "mine", 3), "plain": evaluate_run}
    report = evaluate_collection(
        Named(), TESTSET, ["RR@5"], latency_sample=0, stages=parse_stages("bm25:9,mono:5"), rerankers=rerankers
    )
    assert json.loads(report.to_json())["options"] == {
        "stages": "bm25:9,mono:5",
        "rerankers": {"mono": {"kind": "function", "name": "mine", "version": "3"}, "plain": "evaluate_run"},
    }


def test_the_table_says_what_the_json_says():
    report = evaluate_collection(WordOverlap(), TESTSET)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report.table())
    text = console.export_text()
    for words in [
        "toy (test): overlap",
        f"{report.measures['nDCG@10']:.4f}",
        "5 judged, 3 without results, 1 with no text in the test set, 1 blank",
        "100 documents a query",
        "1 relevant documents: is it the right collection?",
        "p50",
        "p95",
        *Policies().describe().values(),
    ]:
        assert words in text


def test_depth_follows_the_measures_and_the_policies():
    asked = []

    class Recorder(WordOverlap):
        def search_many(self, texts, k=10, minimum=1):
            asked.append(k)
            return super().search_many(texts, k, minimum)

    for arguments in [
        {},
        {"measures": ["P@5"]},
        {"measures": ["P@5"], "policies": Policies(ignore_identical_ids=True)},
        {"measures": ["AP"]},
        {"measures": ["AP"], "k": 7},
    ]:
        evaluate_collection(Recorder(), TESTSET, latency_sample=0, **arguments)
    assert asked == [100, 5, 6, 1000, 7]
    with pytest.raises(MeasureError, match="R@100 looks at more documents than k=10"):
        evaluate_collection(Recorder(), TESTSET, ["P@5", "R@100"], k=10)
    with pytest.raises(MeasureError, match="did you mean nDCG@10"):
        evaluate_collection(Recorder(), TESTSET, ["ndcg@10"])
    assert len(asked) == 5


def test_a_report_says_what_ties_and_policies_did():
    engine = WordOverlap()
    policies = Policies(missing="skip", duplicates="first")
    plain = evaluate_collection(engine, TESTSET, ["RR"], settings={}, policies=policies, latency_sample=0)
    assert json.loads(plain.to_json())["queries"]["skipped"] == 3
    buffer = io.StringIO()
    Console(file=buffer, width=200).print(plain.table())
    assert (
        "5 judged, 3 without results, 1 with no text in the test set, 1 blank, 3 that do not count" in buffer.getvalue()
    )
    # Two documents share both words: cats are returned first, and trec_eval would put dogs there.
    tied = TestSet("toy", "test", {"1": "animal cat"}, {"1": {"cats": 1}})
    report = evaluate_collection(engine, tied, ["RR"], settings={}, latency_sample=0)
    assert (report.measures, report.evaluation.other_ties) == ({"RR": 1.0}, {"RR": 0.5})
    assert json.loads(report.to_json())["other_ties"] == {"RR": 0.5}
    buffer = io.StringIO()
    Console(file=buffer, width=200).print(report.table())
    assert "1 queries hang on them; trec_eval's order gives RR 0.5000" in buffer.getvalue()
