"""The reranking benchmark: its candidates by hand, and all of it on few of them."""

from __future__ import annotations

import pytest

from eval.benchmarks import reranking
from eval.errors import EvaluationError, ReproductionError
from retrieval.execution.precision import processor_has_bf16


def test_candidates_are_those_of_the_first_queries(tmp_path):
    lines = ["qid\tlabel\tquery\tpassage", "1\t0\twho\tone", "1\t1\twho\ttwo", "2\t1\twhat\tthree", "3\t0\twhy\tfour"]
    (tmp_path / "test.tsv").write_text("\n".join(lines) + "\n")
    lists = [("who", ["one", "two"]), ("what", ["three"]), ("why", ["four"])]
    for n in (1, 2, 3, 9):
        found = [(each["query"], each["texts"]) for each in reranking.candidate_lists(tmp_path, n)]
        assert found == lists[:n]


def test_candidates_that_cannot_be_read(tmp_path):
    with pytest.raises(EvaluationError, match=r"no test\.tsv"):
        list(reranking.candidate_lists(tmp_path / "missing", 1))
    (tmp_path / "test.tsv").write_text("qid\tlabel\tquery\tpassage\n1\t0\twho\n")
    with pytest.raises(EvaluationError, match="line 2: 3 columns, not 4"):
        list(reranking.candidate_lists(tmp_path, 1))


def test_rows():
    found = {
        "differences": {"predict": 0.0, "engine": 2.4e-6},
        "ways": {
            "at once": {
                "seconds": {"predict": [3.0, 4.0, 8.0], "engine": [1.0, 2.0, 2.0]},
                "padding": {"predict": 1.3, "engine": 1.0},
            }
        },
    }
    expected = ["name", "engine", "2.00 (1.00 to 2.00)", "3.00 (2.00 to 4.00)", "1.00", "2e-06"]
    assert reranking.row("name", "engine", found, "at once") == expected


def test_scores_that_are_others_are_refused():
    reranking.check("set", {"engine": 9e-6, "engine, bf16": 0.1})
    for wrong in (2e-5, float("nan")):
        with pytest.raises(ReproductionError, match="scores of engine on set differ"):
            reranking.check("set", {"engine": wrong})


@pytest.mark.slow
def test_on_few_candidates(data_folder):
    data_folder("antique-rerank")
    data_folder("msmarco-v2-dl21")
    outcome = reranking.measure(data_folder("wikiqa-rerank").parent, share=0.05, repeats=1)
    sides = ("predict", "engine", "predict, bf16", "engine, bf16") if processor_has_bf16() else ("predict", "engine")
    assert [tuple(row[:2]) for row in outcome.rows] == [
        (f"{name}, {way}", side)
        for name in ("MS MARCO", "WikiQA", "ANTIQUE")
        for way in ("at once", "one by one")
        for side in sides
    ]
    for found in outcome.numbers["measured"].values():
        assert found["differences"]["engine"] < 1e-5 < 0.1 < found["spread"]
        for way in found["ways"].values():
            assert 1 <= way["padding"]["engine"] <= way["padding"]["predict"]
