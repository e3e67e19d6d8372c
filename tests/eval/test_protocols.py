"""Protocols of MS MARCO and TREC Deep Learning: bundled runs score what is published, and what trec_eval says."""

from __future__ import annotations

import re

import pytest
import pytrec_eval

from eval.errors import MeasureError, RunError
from eval.protocols import PROTOCOLS, protocol
from eval.runs import read_msmarco_run, read_run, write_msmarco_run
from eval.testsets import read_testset

RUNS = {
    "msmarco-dl19": {
        "bm25": 0.5058,
        "bm25-rm3": 0.5216,
        "tasb": 0.7210,
        "openai-ada2": 0.7035,
        "repllama": 0.7439,
        "splade-pp-ed": 0.7308,
    },
    "msmarco-v2-dl21": {"bm25": 0.4458, "splade-pp-ed": 0.6839},
}
NAMES = {"msmarco-dl19": "trec-dl-2019-passage", "msmarco-v2-dl21": "trec-dl-2021-passage"}


@pytest.mark.parametrize("folder", RUNS)
def test_every_bundled_run_scores_what_it_is_published_to_score(data, folder):
    """nDCG@10 as the README gives it; the binary measures as trec_eval's own code counts them with -l 2 -c."""
    testset = read_testset(data / folder)
    files = sorted((data / folder / "runs").glob("*.trec.gz"))
    assert set(RUNS[folder]) <= {file.name.split(".")[1] for file in files}
    readme = (data / folder / "README.md").read_text(encoding="utf-8")
    cutoff = 100 if folder == "msmarco-v2-dl21" else 1000
    for file in files:
        run = read_run(file)
        found = protocol(NAMES[folder]).evaluate(run, testset.qrels)
        published = RUNS[folder].get(file.name.split(".")[1])
        if published is not None:
            assert found.measures["nDCG@10"] == pytest.approx(published, abs=5e-5)
            assert re.search(rf"\.{round(published * 10_000)}\b", readme)
        theirs = pytrec_eval.RelevanceEvaluator(
            testset.qrels, {f"map_cut.{cutoff}", "recip_rank", "recall.100"}, relevance_level=2
        ).evaluate({query: dict(ranking) for query, ranking in run.items()})
        means = {
            name: sum(row[name] for row in theirs.values()) / len(testset.qrels)
            for name in (f"map_cut_{cutoff}", "recip_rank", "recall_100")
        }
        expected = {
            f"AP(rel=2)@{cutoff}": means[f"map_cut_{cutoff}"],
            "RR(rel=2)@100" if cutoff == 100 else "RR(rel=2)": means["recip_rank"],
            "R(rel=2)@100": means["recall_100"],
        }
        read = {**found.measures, **found.other_ties}  # trec_eval's reading of ties
        assert {name: read[name] for name in expected} == pytest.approx(expected)


def test_msmarco_counts_all_judged_queries_and_ten_ranks():
    run = {
        "1": [("x", 3.0), ("a", 2.0)],
        "2": [(f"x{n}", -float(n)) for n in range(10)] + [("a", -10.0)],
        "unjudged": [("a", 1.0)],
    }
    qrels = {"1": {"a": 1}, "2": {"a": 1}, "3": {"a": 1}}
    evaluation = protocol("msmarco-passage").evaluate(run, qrels)
    assert evaluation.measures == pytest.approx({"RR@10": 1 / 2 / 3, "R@1000": 2 / 3})
    assert (evaluation.missing, evaluation.unjudged_queries) == (("3",), 1)
    deep = {"1": [(f"x{n}", -float(n)) for n in range(1000)] + [("a", -1000.0)]}
    assert protocol("msmarco-passage").evaluate(deep, {"1": {"a": 1}}).measures["R@1000"] == 0.0


def test_dl21_looks_at_100_passages():
    run = {"1": [(f"x{n}", -float(n)) for n in range(100)] + [("a", -100.0)]}
    assert set(protocol("trec-dl-2021-passage").evaluate(run, {"1": {"a": 3}}).measures.values()) == {0.0}
    found = protocol("trec-dl-2019-passage").evaluate(run, {"1": {"a": 3, "b": 1}}).measures
    assert (found["RR(rel=2)"], found["R(rel=2)@1000"]) == (1 / 101, 1.0)


def test_unknown_protocols_are_refused():
    assert all(name == each.name and each.main in each.measures for name, each in PROTOCOLS.items())
    with pytest.raises(MeasureError, match="no protocol 'msmarco'; there are msmarco-passage, trec-dl-2019-passage"):
        protocol("msmarco")


# ------------------------------------------------------------------------------------------ MS MARCO's run files


def test_msmarco_runs_there_and_back(tmp_path):
    run = {"q": [("b", 7.5), ("a", 7.5), ("文", -1.0)], "empty": []}
    write_msmarco_run(tmp_path / "run.tsv", run)
    assert (tmp_path / "run.tsv").read_text(encoding="utf-8") == "q\tb\t1\nq\ta\t2\nq\t文\t3\n"
    assert read_msmarco_run(tmp_path / "run.tsv") == {"q": [("b", -1.0), ("a", -2.0), ("文", -3.0)]}
    with pytest.raises(RunError, match="white space"):
        write_msmarco_run(tmp_path / "run.tsv", {"a b": [("d", 1.0)]})
    with pytest.raises(RunError, match="cannot write"):
        write_msmarco_run(tmp_path / "nowhere" / "run.tsv", run)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("q\tb\t2\nq\ta\t1\n", ["a", "b"]),  # lines in any order
        ("q\tb\nq\ta\n", ["b", "a"]),  # without ranks
        ("q\tb\t7\nq\ta\t9\n", ["b", "a"]),  # with gaps
    ],
)
def test_ranks_decide(tmp_path, text, expected):
    (tmp_path / "run.tsv").write_text(text)
    assert [name for name, _ in read_msmarco_run(tmp_path / "run.tsv")["q"]] == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("q\ta\t1\nq\tb\t1\n", r"run.tsv:2: rank 1 is twice"),
        ("q\ta\t1\nq\ta\t2\n", r"run.tsv:2: passage 'a' is twice"),
        ("q\ta\t1\nq\tb\n", r"run.tsv:2: 2 columns instead of 3"),
        ("q\ta\t0\n", "the rank '0' is not"),
        ("q\ta\t1.5\n", "the rank '1.5' is not"),
        ("q a 1\n", "1 columns"),
    ],
)
def test_faults_of_msmarco_runs_are_named(tmp_path, text, words):
    (tmp_path / "run.tsv").write_text(text)
    with pytest.raises(RunError, match=words):
        read_msmarco_run(tmp_path / "run.tsv")


def test_ranks_of_trec_runs_that_contradict_their_scores_are_said(tmp_path, caplog):
    (tmp_path / "a.run").write_text(
        "q Q0 a 1 1.0 t\nq Q0 b 2 2.0 t\np Q0 a 1 2.0 t\np Q0 b 2 1.0 t\nr Q0 a 1 2 t\nr Q0 b 1 1 t\n"
    )
    assert [name for name, _ in read_run(tmp_path / "a.run")["q"]] == ["b", "a"]
    assert "the ranks of 2 of 3 queries repeat or contradict the scores" in caplog.text
