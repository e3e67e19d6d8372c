"""`retrieval tune`: the settings of a pipeline that are worth their price."""

from __future__ import annotations

import json

import pytest

from retrieval import FunctionReranker

ROWS = [
    ("a", "owl owl owl"),
    ("b", "owl owl of the night"),
    ("c", "owl and a very long text about kites"),
    ("d", "wren"),
]


@pytest.fixture
def testset(tmp_path):
    """BM25 has a, b, c in this order for owl; relevant is c, the longest."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    corpus = "".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in ROWS)
    (folder / "corpus.jsonl").write_text(corpus, encoding="utf-8")
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "owl"}\n', encoding="utf-8")
    (folder / "qrels" / "dev.tsv").write_text("query-id\tcorpus-id\tscore\nq1\tc\t1\n", encoding="utf-8")
    return folder


@pytest.fixture
def index(cli, tmp_path, testset):
    assert cli("index", tmp_path / "x.index", testset, "--no-dense").status == 0
    return tmp_path / "x.index"


@pytest.fixture(autouse=True)
def by_length(monkeypatch):
    """Every model ranks by length."""

    def load_reranker(model):
        return FunctionReranker(lambda query, texts: [len(text) for text in texts], name=model)

    monkeypatch.setattr("retrieval.rerankers.load_reranker", load_reranker)


PIPELINE = ("--stages", "bm25:10,length:3", "--reranker", "length=x", "--measures", "RR@10")


def test_every_setting_is_measured_and_the_best_is_named(cli, index, testset):
    report = cli("tune", index, testset, *PIPELINE, "--json").json
    assert {each["stages"]: (each["measures"]["RR@10"], each["calls"]) for each in report["settings"]} == {
        "bm25:10,length:0": (pytest.approx(1 / 3), 0),
        "bm25:10,length:1": (pytest.approx(1 / 3), 1),
        "bm25:10,length:2": (pytest.approx(1 / 3), 2),
        "bm25:10,length:3": (1, 3),
    }
    assert [each["stages"] for each in report["pareto"]] == ["bm25:10,length:0", "bm25:10,length:3"]
    assert report["best"]["stages"] == "bm25:10,length:3"
    assert report["calls"] == {"length": 3}
    assert report["calls_of_settings"] == 6
    assert report["check"]["identical"] == report["check"]["queries"] == 1
    assert (report["testset"], report["split"]) == ("beir", "dev")


def test_numbers_and_budgets_can_be_chosen(cli, index, testset):
    done = cli("tune", index, testset, *PIPELINE, "--try", "length=0,2,3", "--try", "bm25=1,10", "--max-calls", "2")
    assert done.status == 0
    assert "6 settings" in done.out
    assert "best: bm25:10,length:0" in done.out
    report = cli("tune", index, testset, *PIPELINE, "--where", "year is null", "--no-check", "--json").json
    assert report["check"] is None


def test_a_plot_is_drawn(cli, index, testset, tmp_path):
    pytest.importorskip("matplotlib")
    done = cli("tune", index, testset, *PIPELINE, "--plot", tmp_path / "curve.svg")
    assert done.status == 0
    assert "drew" in done.err
    assert (tmp_path / "curve.svg").read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "tuning needs --stages"),
        ([*PIPELINE, "--split", "test"], "test"),
        ([*PIPELINE, "--try", "length"], "--try 'length': write a stage and whole numbers"),
        ([*PIPELINE, "--try", "length=1,x"], "whole numbers"),
        ([*PIPELINE, "--try", "length=4"], "from 0 to 3"),
        (
            [*PIPELINE, "--try", "length=1", "--try", "bm25=3", "--try", " length =2,3"],
            "--try length is given twice; give all of its numbers once: --try length=1,2,3",
        ),
        ([*PIPELINE, "--try", "mono=1"], "no stage is called 'mono'"),
        ([*PIPELINE, "--mode", "bm25"], "exclude each other"),
        ([*PIPELINE, "--max-ms", "0"], "no setting is within the budget"),
        ([*PIPELINE, "--plot", "curve.png"], "an .svg file"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(cli, index, testset, arguments, words):
    pytest.importorskip("matplotlib")
    done = cli("tune", index, testset, *arguments)
    assert done.status == 2
    assert words in done.error


def test_the_time_of_single_searches_is_shown(cli, index, testset):
    assert "batches of queries" in " ".join(cli("tune", "--help").out.split())
    done = cli("tune", index, testset, *PIPELINE)
    assert "single searches: " in done.out
    assert cli("tune", index, testset, *PIPELINE, "--json").json["check"]["latency"]["n"] == 1
    assert "single searches" not in cli("tune", index, testset, *PIPELINE, "--no-check").out
