"""Running queries: with a search function, every query is asked once, and what ran is what is reported."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from eval.errors import MeasureError, RunError
from eval.measures import Policies, evaluate_run
from eval.provenance import package_versions
from eval.report import StageCost
from eval.runner import ScoredDocument, evaluate_collection, measure_latency, run_queries
from eval.testsets import TestSet
from retrieval import FunctionReranker, parse_stages
from retrieval.pipeline import StageReport

DOCUMENTS = {
    "cats": "a cat is a small animal that hunts mice",
    "dogs": "a dog is an animal that barks at a cat",
    "rust": "rust is what iron becomes in the rain",
    "rain": "rain falls from clouds",
}
QUERIES = {"1": "animal that hunts", "2": "iron in the rain", "3": "  ", "4": "quantum"}
QRELS = {"1": {"cats": 1}, "2": {"rust": 2, "rain": 1}, "3": {"dogs": 1}, "4": {"dogs": 1}, "5": {"gone": 1}}
TESTSET = TestSet("toy", "test", QUERIES, QRELS, queries_without_text=("5",))


class WordOverlap:
    """A small search engine: documents by the number of words that they share with the query."""

    class Results(list):
        mode = "overlap"

    def __init__(self):
        self.calls = []

    def __contains__(self, document_id):
        return document_id in DOCUMENTS

    def search(self, text, k=10, minimum=1):
        words = set(text.split())
        shared = [(len(words & set(body.split())), document_id) for document_id, body in DOCUMENTS.items()]
        best = sorted((pair for pair in shared if pair[0] >= minimum), key=lambda pair: -pair[0])
        return self.Results(ScoredDocument(document_id, float(n)) for n, document_id in best[:k])

    def search_many(self, texts, k=10, minimum=1):
        self.calls.append(list(texts))
        return [self.search(text, k, minimum) for text in texts]


def test_every_query_with_a_text_is_asked_once_in_batches():
    engine = WordOverlap()
    result = run_queries(engine.search_many, TESTSET, k=2, batch_size=2)
    assert engine.calls == [["animal that hunts", "iron in the rain"], ["quantum"]]
    assert result.run["1"] == [("cats", 3.0), ("dogs", 2.0)]
    assert result.run["4"] == []
    assert result.modes == ("overlap",)
    assert result.blank_queries == 1
    assert run_queries(engine.search_many, TESTSET, k=2, batch_size=100, progress=True).run == result.run


def test_a_plain_function_is_a_search():
    def everything(texts, k):
        return [[ScoredDocument(document_id, 1.0) for document_id in list(DOCUMENTS)[:k]] for _ in texts]

    result = run_queries(everything, TESTSET, k=3)
    assert result.modes == ()
    assert result.run["2"] == [("cats", 1.0), ("dogs", 1.0), ("rust", 1.0)]


def test_a_search_that_breaks_its_contract_is_refused():
    with pytest.raises(RunError, match="asked 3 queries and answered 0"):
        run_queries(lambda texts, k: [], TESTSET, k=3)
    with pytest.raises(RunError, match="asked for 1 documents, it gave 2"):
        run_queries(lambda texts, k: [[ScoredDocument("a", 1.0), ScoredDocument("b", 1.0)]] * len(texts), TESTSET, k=1)
    with pytest.raises(RunError, match="at least 1"):
        run_queries(WordOverlap().search_many, TESTSET, k=0)


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


def test_the_cost_of_stages_is_added_up():
    """Seconds are those of all queries that were searched together."""

    class Staged(WordOverlap):
        def search_many(self, texts, k=10, stages=""):
            answers = super().search_many(texts, k)
            for number, answer in enumerate(answers):
                answer.stages = [
                    StageReport("overlap", 4, 0, 0.5, len(texts)),
                    StageReport("mono", number + 1, 10 * (number + 1), 3.0, len(texts)),
                ]
            return answers

    result = run_queries(Staged().search_many, TESTSET, k=2, batch_size=2)  # two queries, then one
    overlap, mono = result.stages
    assert overlap == StageCost("overlap", queries=3, documents=12, calls=0, seconds=1.0)
    assert mono == StageCost("mono", queries=3, documents=4, calls=40, seconds=6.0)
    assert str(mono) == "1.3 documents, 13.3 model calls, 2,000.0 ms (means a query, in batches)"
    report = evaluate_collection(Staged(), TESTSET, ["RR@5"], latency_sample=0, stages="overlap:4,mono:2")
    assert [stage["calls"] for stage in report.as_dict()["stages"]] == [0, 60]
    assert run_queries(WordOverlap().search_many, TESTSET, k=2).stages == ()


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


def test_latency_draws_the_same_queries_for_the_same_seed():
    def drawn(seed, sample):
        asked = []
        latency = measure_latency(asked.append, [str(i) for i in range(50)] + [" "], sample, seed)
        assert latency is not None
        assert latency.n == min(sample, 50)
        return asked[min(5, sample) :]  # the first searches warm up

    assert drawn(0, 10) == drawn(0, 10)
    assert drawn(0, 10) != drawn(1, 10)
    assert sorted(drawn(3, 1000)) == sorted(str(i) for i in range(50))
    assert measure_latency(str, [" "]) is None
    assert measure_latency(str, ["a"], sample=0) is None


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
