"""`--stages`, `--reranker` and `--passages` of `retrieval search` and `retrieval evaluate`."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from retrieval import Aggregation, Collection, FunctionReranker, Splitting
from tests.rerankers.conftest import classifier
from tests.retrieval.conftest import own_cache

__all__ = ["classifier", "own_cache"]


def backwards(query, texts):
    """The later in the list, the better."""
    return list(range(len(texts)))


@pytest.fixture
def models(monkeypatch):
    """Models by the names that a command line can give them; returns which were loaded."""
    loaded = []

    def load_reranker(model):
        loaded.append(model)
        return FunctionReranker(backwards, name=model, version="7")

    monkeypatch.setattr("retrieval.rerankers.load_reranker", load_reranker)
    return loaded


PIPELINE = ("--stages", "bm25:10,mono:2", "--reranker", "mono=a/folder")


def test_a_pipeline_reranks_and_says_what_it_took(cli, lexical, models):
    plain = cli("search", lexical, "read file", "--json").json
    found = cli("search", lexical, "read file", *PIPELINE, "--json", "--explain").json
    first, second, *rest = [hit["id"] for hit in plain["hits"]]
    assert [hit["id"] for hit in found["hits"]] == [second, first, *rest]
    assert found["mode"] == "bm25:10,mono:2"
    assert models == ["a/folder"]
    assert [(stage["name"], stage["documents"], stage["calls"]) for stage in found["stages"]] == [
        ("bm25", len(plain["hits"]), 0),
        ("mono", 2, 2),
    ]
    assert all(stage["seconds"] > 0 for stage in found["stages"])
    assert found["hits"][0]["explanation"]["stages"] == [
        {"stage": "bm25:10", "rank": 2, "score": plain["hits"][1]["score"], "states": False},
        {"stage": "mono", "rank": 1, "score": 1.0, "states": False},
    ]
    assert [stage["name"] for stage in plain["stages"]] == ["bm25"]


@pytest.mark.parametrize(
    ("model", "place", "settings"),
    [
        ("a/folder,precision=int8,exit_entropy=0.1", "a/folder", {"precision": "int8", "exit_entropy": 0.1}),
        ("a/folder,max_tokens=128", "a/folder", {"max_tokens": 128}),
        (
            "a/folder,exit_entropy=[0.1,0.2],precision=int8",
            "a/folder",
            {"exit_entropy": [0.1, 0.2], "precision": "int8"},
        ),
        ("a/folder,max_tokens=64,exit_entropy=[0.1, 0.2]", "a/folder", {"exit_entropy": [0.1, 0.2], "max_tokens": 64}),
        ("a, b/folder=1,5", "a, b/folder=1,5", {}),  # a path
    ],
)
def test_settings_stand_behind_a_model(model, place, settings, cli, lexical, monkeypatch):
    loaded = []

    def load_reranker(model, **given):
        loaded.append((model, given))
        return FunctionReranker(backwards, name=model)

    monkeypatch.setattr("retrieval.rerankers.load_reranker", load_reranker)
    done = cli("search", lexical, "read file", "--stages", "bm25:10,mono:2", "--reranker", f"mono={model}")
    assert done.status == 0
    assert loaded == [(place, settings)]


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("max_tokens=x", "max_tokens is 'x'; give a whole number"),
        ("prompt=3", "prompt is 3; give a text"),
        ("device=tpu9", "cannot be on device 'tpu9'"),
        ("runtime=tensorrt", "unknown runtime 'tensorrt': one of torch, onnx, openvino"),
        ("aggregation=max", "'aggregation' is no setting of a pointwise reranker"),
    ],
)
def test_values_that_no_model_understands_are_one_line(settings, words, cli, lexical, classifier):
    done = cli("search", lexical, "csv", "--stages", "bm25:9,m:2", "--reranker", f"m={classifier()},{settings}")
    assert done.status == 2
    assert words in done.error
    assert "unexpected" not in done.error


@pytest.mark.usefixtures("own_cache")
def test_a_runtime_stands_behind_a_model(cli, lexical, classifier):
    """Of the same scores, and so the same answer."""
    for package in ("onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    answers = []
    for settings in ("", ",runtime=onnx,batch_tokens=64"):
        model = f"mono={classifier()}{settings}"
        done = cli("search", lexical, "read file", "--stages", "bm25:10,mono:2", "--reranker", model, "--json")
        assert done.status == 0, done.error
        answers.append([(hit["id"], pytest.approx(hit["score"], abs=1e-5)) for hit in json.loads(done.out)["hits"]])
    assert answers[0] == [(document, score.expected) for document, score in answers[1]]


def test_people_see_ranks_stages_and_calls(cli, lexical, models):
    done = cli("search", lexical, "read file", *PIPELINE, "--explain")
    assert done.status == 0
    assert "stage mono: rank 2 -> 1, score 1" in done.out
    *_, closing, retrieval, mono = done.out.splitlines()
    assert ", stages bm25:10,mono:2, 2 model calls, " in closing
    assert retrieval.startswith("  bm25: ")
    assert mono.startswith("  mono: 2 documents, 2 model calls, ")
    assert "stage" not in cli("search", lexical, "read file", "--explain").out


def test_each_line_of_standard_input_goes_through_the_stages(cli, lexical, models):
    done = cli("search", lexical, *PIPELINE, "--json", stdin=b"read file\ncsv\n")
    assert [json.loads(line)["mode"] for line in done.out.splitlines()] == ["bm25:10,mono:2"] * 2
    assert models == ["a/folder"]  # once


def test_retrievers_alone_need_no_model(cli, lexical, models):
    found = cli("search", lexical, "read file", "--stages", "bm25:1", "--json").json
    with Collection.open(lexical) as collection:
        expected = collection.search("read file", 1)
    assert [(hit["id"], hit["score"]) for hit in found["hits"]] == [(hit.id, hit.score) for hit in expected]
    assert models == []


def test_the_model_of_a_stage_that_is_off_is_not_loaded(cli, lexical, models):
    plain = cli("search", lexical, "read file", "--json").json["hits"]
    off = cli("search", lexical, "read file", "--stages", "bm25:9,mono:0", "--reranker", "mono=x", "--json").json[
        "hits"
    ]
    assert off == plain
    assert models == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--reranker", "mono=x"], "--reranker mono=x needs --stages"),
        (["--stages", "bm25:9", "--mode", "bm25"], "--mode bm25 and --stages bm25:9 exclude each other"),
        (["--stages", "bm25"], "has no number"),
        (["--stages", "bm25:9,mono:5"], "no model for stage 'mono' of 'bm25:9,mono:5': add --reranker mono=MODEL"),
        (["--stages", "bm25:9,mono:5", "--reranker", "mono"], "write NAME=MODEL"),
        (["--stages", "bm25:9,mono:5", "--reranker", "=x"], "write NAME=MODEL"),
        (
            ["--stages", "bm25:9,mono:5", "--reranker", "mono=x", "--reranker", "mono=y"],
            "--reranker mono is given twice: 'x' and 'y'",
        ),
        (
            ["--stages", "bm25:9,mono:5", "--reranker", "mono=x", "--reranker", "duo=y"],
            "--reranker duo=y: no stage is called 'duo'; stages: 'mono'",
        ),
        (["--stages", "dense:9,mono:5", "--reranker", "mono=x"], "retriever 'dense' needs vectors"),
    ],
)
def test_what_cannot_run_is_refused_before_a_model_is_loaded(cli, lexical, models, arguments, words):
    done = cli("search", lexical, "csv", *arguments)
    assert done.status == 2
    assert words in done.error
    assert models == []


@pytest.fixture
def testset(tmp_path):
    """Three documents, two queries; BM25 has the relevant ones second."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    rows = [("a", "owl owl"), ("b", "owl swift kite"), ("c", "swift swift"), ("d", "wren")]
    corpus = "".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in rows)
    (folder / "corpus.jsonl").write_text(corpus, encoding="utf-8")
    queries = "".join(json.dumps({"_id": f"q{text}", "text": text}) + "\n" for text in ("owl", "swift"))
    (folder / "queries.jsonl").write_text(queries, encoding="utf-8")
    judged = "query-id\tcorpus-id\tscore\nqowl\tb\t1\nqswift\tb\t1\n"
    (folder / "qrels" / "test.tsv").write_text(judged, encoding="utf-8")
    return folder


def test_evaluate_measures_a_pipeline_and_its_cost(cli, tmp_path, testset, models):
    index = tmp_path / "x.index"
    assert cli("index", index, testset, "--no-dense").status == 0
    arguments = ["evaluate", index, testset, "--measures", "RR@10", "--latency", "1"]
    assert cli(*arguments, "--json").json["measures"]["RR@10"] == pytest.approx(1 / 2)
    report = cli(*arguments, *PIPELINE, "--json", "--run", tmp_path / "run.txt").json
    assert report["measures"]["RR@10"] == pytest.approx(1)
    assert report["mode"] == "bm25:10,mono:2"
    assert report["options"] == {
        "stages": "bm25:10,mono:2",
        "rerankers": {"mono": {"kind": "function", "name": "a/folder", "version": "7"}},
    }
    assert [(stage["name"], stage["queries"], stage["documents"], stage["calls"]) for stage in report["stages"]] == [
        ("bm25", 2, 4, 0),
        ("mono", 2, 4, 4),
    ]
    assert (tmp_path / "run.txt").read_text(encoding="utf-8").split()[5] == "bm25:10,mono:2"
    out = cli(*arguments, *PIPELINE).out
    assert "2.0 documents, 2.0 model calls, " in out
    assert "means a query" not in cli(*arguments).out


# --------------------------------------------------------------------------------------------------------- --passages

MONO = ("--stages", "bm25:10,mono:2", "--reranker", "mono=a/folder")


@pytest.mark.parametrize(
    ("text", "aggregate", "splitting"),
    [
        ("max", {"method": "max"}, {}),
        ("sum", {"method": "decayed", "decay": 1.0}, {}),
        ("mean,best=2", {"method": "mean", "best": 2}, {}),
        ("decayed, decay=0.25", {"method": "decayed", "decay": 0.25}, {}),
        ("max,words=100,stride=50,most=8,title=3", {}, {"size": 100, "stride": 50, "most": 8, "title_words": 3}),
        ("max,sentences=1", {}, {"unit": "sentences", "size": 1, "stride": 1}),
    ],
)
def test_a_stage_reads_passages(cli, tmp_path, testset, models, text, aggregate, splitting):
    index = tmp_path / "x.index"
    assert cli("index", index, testset, "--no-dense").status == 0
    report = cli("evaluate", index, testset, *MONO, "--passages", f"mono={text}", "--json").json
    identity = report["options"]["rerankers"]["mono"]
    assert identity["kind"] == "passages"
    assert identity["reranker"] == {"kind": "function", "name": "a/folder", "version": "7"}
    assert identity["aggregate"] == asdict(Aggregation(**aggregate))
    assert identity["splitting"] == asdict(Splitting(**splitting))


def test_passages_are_counted(cli, lexical, models):
    found = cli("search", lexical, "read file", *MONO, "--passages", "mono=max,words=2", "--json").json
    assert found["stages"][-1]["documents"] == 2
    assert found["stages"][-1]["calls"] > 4


@pytest.mark.parametrize(
    ("passages", "words"),
    [
        (["mono"], "write NAME=METHOD"),
        (["=max"], "write NAME=METHOD"),
        (["mono="], "write NAME=METHOD"),
        (["mono=median"], "unknown aggregation of passages 'median'"),
        (["mono=max,best=2"], "best is of mean"),
        (["mono=max,words=x"], "'x' is no number for words"),
        (["mono=max,depth=3"], "'depth=3' is no setting"),
        (["mono=max,words=3,words=4"], "a setting is given twice"),
        (["mono=max,words=3,tokens=4"], "words and tokens are given; passages have one unit"),
        (["mono=max,words=3,stride=4"], "a stride of 4 would leave out text"),
        (["mono=max", "mono=sum"], "--passages mono is given twice"),
        (["duo=max"], "--passages duo=…: no stage is called 'duo'; stages: 'mono'"),
    ],
)
def test_passages_that_make_no_sense(cli, lexical, models, passages, words):
    done = cli("search", lexical, "csv", *MONO, *(part for text in passages for part in ("--passages", text)))
    assert done.status == 2
    assert words in done.error
    assert models == []


def test_passages_need_stages(cli, lexical, models):
    done = cli("search", lexical, "csv", "--passages", "mono=max")
    assert "--passages mono=max needs --stages" in done.error
