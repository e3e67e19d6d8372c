"""Candidates of reranking studies: who is asked, what is ordered, and what an order is worth."""

from __future__ import annotations

import gzip
import json
import math

import numpy as np

from eval.experiments.candidates import CandidateSet, bm25_candidates, judged_candidates, run_candidates
from retrieval import FunctionReranker
from retrieval.rerankers import Candidates


def write(path, text):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(text)


def test_scores_order_the_first_ones_and_the_others_follow():
    candidates = {"q": Candidates(["a", "b", "c", "d"], ["a", "b", "c", "d"], np.arange(4.0)[::-1])}
    made = CandidateSet("set", {"q": "?"}, candidates, {"q": {"c": 1}})
    assert made.first_stage("nDCG@10") == [1 / math.log2(4)]
    assert made.values("nDCG@10", [np.array([1.0, 1.0])]) == [1 / math.log2(4)]
    assert made.values("nDCG@10", [np.array([0.0, 1.0, 2.0])]) == [1.0]
    best = FunctionReranker(lambda _query, texts: [float(text == "c") for text in texts], name="c", version="1")
    assert made.reranked(best, "nDCG@10") == [1.0]
    assert made.reranked(best, "nDCG@10", depth=2) == [1 / math.log2(4)]


def test_questions_of_training_are_not_asked(tmp_path):
    write(tmp_path / "collection.tsv.gz", "1\tswifts sleep in flight\n2\towls sleep by day\n3\tbread is baked\n")
    write(tmp_path / "queries.train.tsv.gz", "10\tWhen do owls sleep?\n")
    write(tmp_path / "queries.dev.tsv.gz", "20\twhen do owls  sleep\n21\twhere do swifts sleep\n")
    write(tmp_path / "qrels.dev.tsv.gz", "20 0 2 1\n21 0 1 1\n")
    made = bm25_candidates(tmp_path, "dev", 10, 2, seed=0)
    assert made.queries == {"21": "where do swifts sleep"}
    assert list(made.candidates["21"].ids) == ["1", "2"]
    assert made.first_stage("nDCG@10") == [1.0]


def test_judged_passages_come_in_the_order_of_bm25(tmp_path):
    rows = ["q1\t1\towls day\towls sleep by day", "q1\t4\towls day\tnothing", "q1\t3\towls day\ta day for owls of day"]
    only_relevant = "q2\t4\towls\towls"
    write(tmp_path / "test.tsv.gz", "\n".join(["qid\tgrade\tquery\tpassage", *rows, only_relevant]) + "\n")
    made = judged_candidates(tmp_path / "test.tsv.gz", "grade", 3, 10, seed=0)
    assert list(made.queries) == ["q1"]
    assert made.candidates["q1"].texts[-1] == "nothing"
    given = made.candidates["q1"]
    grades = {text: made.qrels["q1"][name] for name, text in zip(given.ids, given.texts, strict=True)}
    assert grades == {"owls sleep by day": 0, "nothing": 2, "a day for owls of day": 1}


def test_candidates_of_a_run_come_in_its_order(tmp_path):
    rows = [{"_id": str(n), "title": "", "text": f"text {n}"} for n in range(4)]
    write(tmp_path / "corpus.jsonl.gz", "".join(json.dumps(row) + "\n" for row in rows))
    write(tmp_path / "queries.jsonl.gz", json.dumps({"_id": "q", "text": "which"}) + "\n")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\t1\t2\n", encoding="utf-8")
    lines = ((3, 9.0), (1, 8.0), (0, 7.0))
    run = "".join(f"q Q0 {name} {rank} {score} run\n" for rank, (name, score) in enumerate(lines, start=1))
    (tmp_path / "run.trec").write_text(run, encoding="utf-8")
    made = run_candidates(tmp_path, "run.trec", 2)
    assert (made.candidates["q"].ids, made.candidates["q"].texts) == (["3", "1"], ["text 3", "text 1"])
    assert made.first_stage("nDCG@10") == [1 / math.log2(3)]
