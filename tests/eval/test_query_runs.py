"""Running queries: with a search function, every query is asked once, and what the stages took is added up."""

from __future__ import annotations

import pytest

from eval.collection_evaluation import evaluate_collection
from eval.errors import RunError
from eval.query_runs import ScoredDocument, StageCost, run_queries
from retrieval.pipeline import StageReport
from tests.eval.word_overlap import DOCUMENTS, TESTSET, WordOverlap


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
