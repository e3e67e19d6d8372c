"""`retrieval compare`: systems on tasks, one command from a data folder to a report."""

from __future__ import annotations

import json

import pytest

from eval.running import read_results
from retrieval import FunctionReranker
from tests.eval.running.conftest import QRELS, QUERIES, ROWS, CountingEncoder

MATCHES = [sum(not set(query.split()).isdisjoint(text.split()) for text in ROWS.values()) for query in QUERIES.values()]
"""Documents that share a word with each query."""


@pytest.fixture
def pairs(tmp_path):
    """A data set of judged pairs, with a task of its own."""
    folder = tmp_path / "data" / "pairs"
    folder.mkdir(parents=True)
    rows = ("owl\tan owl\t5", "wren\tkite\t1", "owl\tbird\t3", "day\tnight\t2")
    (folder / "test.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *rows, ""]), encoding="utf-8")
    (folder / "task.toml").write_text('name = "Pairs"\nkind = "STS"\n', encoding="utf-8")
    return folder.parent


@pytest.fixture
def data(pairs):
    """The pairs, and documents with queries."""
    search = pairs / "search"
    (search / "qrels").mkdir(parents=True)
    corpus = "".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in ROWS.items())
    (search / "corpus.jsonl").write_text(corpus, encoding="utf-8")
    queries = "".join(json.dumps({"_id": name, "text": text}) + "\n" for name, text in QUERIES.items())
    (search / "queries.jsonl").write_text(queries, encoding="utf-8")
    grades = [f"{query}\t{name}\t{grade}\n" for query, row in QRELS.items() for name, grade in row.items()]
    (search / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(grades), encoding="utf-8")
    (search / "task.toml").write_text('name = "Birds"\nkind = "Retrieval"\n', encoding="utf-8")
    return pairs


class Models:
    """Every model that is loaded: encoders by name, and rerankers that rank by length."""

    def __init__(self) -> None:
        self.encoders: dict[str, CountingEncoder] = {}
        self.settings: list[tuple[str, dict[str, object]]] = []
        self.pairs = 0

    def load_encoder(self, name, **settings):
        if not isinstance(name, str):
            return name
        self.settings.append((name, settings))
        self.encoders[name] = CountingEncoder(name)
        return self.encoders[name]

    def load_reranker(self, name, **settings):
        self.settings.append((name, settings))

        def by_length(query, texts):
            self.pairs += len(texts)
            return [len(text) for text in texts]

        return FunctionReranker(by_length, name)


@pytest.fixture
def models(monkeypatch):
    found = Models()
    monkeypatch.setattr("retrieval.encoders.load_encoder", found.load_encoder)
    monkeypatch.setattr("retrieval.rerankers.load_reranker", found.load_reranker)
    return found


@pytest.fixture
def compare(cli, pairs, tmp_path):
    """Return a function that runs the command on the data with a folder of its own."""

    def run(*arguments, out="out"):
        return cli("compare", pairs, "--out", tmp_path / out, *arguments)

    return run


def scores(done):
    return {(each["task"], each["system"]): each["score"] for each in done.json["results"]}


def test_one_command_measures_the_embedded_encoder_and_bm25_on_everything(compare, data, models, tmp_path):
    done = compare()
    assert done.status == 0, done.err
    for name in ("Birds", "Pairs", "embedded", "bm25"):
        assert name in done.out
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"report.txt", "report.json", "report.html", "report.tex", "report.md", "scores.csv", "results"} <= written
    assert "workspace" in written
    results = read_results(tmp_path / "out" / "results")
    assert [(r.task, r.system) for r in results] == [("Birds", "bm25"), ("Birds", "embedded"), ("Pairs", "embedded")]
    assert "1 combination without a measurement" in done.err
    assert "tasks without data" in done.err


def test_a_second_run_encodes_nothing_and_says_the_same(compare, models):
    first = compare("--json")
    assert models.encoders["embedded"].seen != []
    second = compare("--json")
    assert models.encoders["embedded"].seen == []
    assert second.json["stored"] == len(first.json["results"]) == 1
    assert second.json["results"] == first.json["results"]
    again = compare("--json", "--again")
    assert models.encoders["embedded"].seen == []
    assert again.json["stored"] == 0
    assert scores(again) == scores(first)


def test_systems_of_every_sort(compare, data, models):
    done = compare(
        *("--system", "bm25", "--system", "words=bm25:5", "--system", "bm25:5,mono:3", "--system", "hybrid"),
        *("--system", "mine=some/model", "--system", "dense:4,mono:2", "--reranker", "mono=a/ranker"),
        *("--task", "Birds", "--encoder", "other", "--latency", 0, "--json"),
    )
    assert done.status == 0, done.err
    found = scores(done)
    assert list(found) == [
        ("Birds", name) for name in ("bm25", "words", "bm25:5,mono:3", "hybrid", "mine", "dense:4,mono:2")
    ]
    assert found["Birds", "bm25"] == found["Birds", "words"]
    assert models.encoders.keys() == {"other", "some/model"}
    assert models.pairs == sum(min(3, each) for each in MATCHES) + 2 * len(QUERIES)


DECLARED = """
[[systems]]
name = "words, binary"
system = "bm25"
bm25 = { k1 = 0 }

[[systems]]
name = "passages"
system = "embedded"
long = "chunk"

[[systems]]
name = "fused, weighted"
system = "hybrid"
bm25 = { b = 0 }
fusion = { method = "weighted", dense_weight = 0.25 }

[[systems]]
name = "in stages"
system = "bm25:5+dense:5"
fusion = { constant = 10 }
"""


def test_systems_of_a_file(compare, data, models, tmp_path):
    file = tmp_path / "systems.toml"
    file.write_text(DECLARED, encoding="utf-8")
    done = compare("--systems", file, "--system", "bm25", "--task", "Birds", "--latency", 0, "--json")
    assert done.status == 0, done.err
    assert [name for _, name in scores(done)] == ["words, binary", "passages", "fused, weighted", "in stages", "bm25"]
    facts = {each.system: each.settings["system"] for each in read_results(tmp_path / "out" / "results")}
    assert facts["words, binary"]["options"] == {"mode": "bm25", "bm25": {"k1": 0.0, "b": 0.75}}
    assert facts["passages"]["options"] == {"mode": "dense"}
    assert facts["passages"]["long"] == "chunk"
    fused = facts["fused, weighted"]
    assert fused["options"]["bm25"] == {"k1": 1.2, "b": 0.0}
    assert fused["options"]["fusion"]["method"] == "weighted"
    assert fused["options"]["fusion"]["dense_weight"] == 0.25
    assert fused["long"] == "truncate"
    assert facts["in stages"]["options"]["fusion"]["constant"] == 10
    assert facts["bm25"]["options"] == {"mode": "bm25"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[[systems]", "is not TOML"),
        ("", "declares no system"),
        ("systems = 3", "declares no system"),
        ("systems = [3]", "system 1 is 3, not a table"),
        ("[[system]]\nname = 'a'", "the file has no key 'system'; it knows systems"),
        ("[[systems]]\nsystem = 'bm25'", "system 1 has no name"),
        ("[[systems]]\nname = 'a'\nsystem = ''", "system 1 has no system"),
        ("[[systems]]\nname = 'a'\nsystem = 'bm25'\nk1 = 2", "system 1 has no key 'k1'; it knows name, system, long"),
        ("[[systems]]\nname = 'a'\nsystem = 'bm25'\nlong = 'cut'", "long is 'chunk' or 'truncate', not 'cut'"),
        ("[[systems]]\nname = 'a'\nsystem = 'bm25'\nbm25 = 3", "system 1: bm25: Expected `object`, got `int`"),
        ("[[systems]]\nname = 'a'\nsystem = 'bm25'\nbm25 = { k = 1 }", "bm25 has no key 'k'; it knows k1, b"),
        ("[[systems]]\nname = 'a'\nsystem = 'bm25'\nbm25 = { b = 2 }", "b must be between 0 and 1, not 2"),
        ("[[systems]]\nname = 'a'\nsystem = 'bm25'\nbm25 = { k1 = 'x' }", "Expected `float`, got `str`"),
        ("[[systems]]\nname = 'a'\nsystem = 'hybrid'\nfusion = { constant = -1 }", "fusion needs constant >= 0"),
        (
            "[[systems]]\nname = 'a'\nsystem = 'bm25'\nfusion = {}",
            "is 'bm25', which has no use for 'fusion'",
        ),
        ("[[systems]]\nname = 'a'\nsystem = 'embedded'\nbm25 = {}", "'embedded', which has no use for 'bm25'"),
        ("[[systems]]\nname = 'a'\nsystem = 'dense:5'\nbm25 = {}", "'dense:5', which has no use for 'bm25'"),
    ],
)
def test_a_faulty_file_of_systems_is_one_line(compare, models, tmp_path, content, words):
    file = tmp_path / "systems.toml"
    file.write_text(content, encoding="utf-8")
    done = compare("--task", "Pairs", "--systems", file)
    assert done.status == 2
    assert words in done.error


def test_a_missing_file_of_systems_is_named(compare, models, tmp_path):
    assert f"cannot read {tmp_path / 'none.toml'}" in compare("--systems", tmp_path / "none.toml").error


def test_candidates_as_they_come(compare, data, models):
    (data / "search" / "top.run").write_text(
        "".join(f"{query} Q0 {name} {rank} {-rank} first\n" for query in QUERIES for rank, name in enumerate(ROWS, 1))
    )
    (data / "search" / "task.toml").unlink()
    definition = 'name = "Top"\nkind = "Reranking"\ncandidates = "top.run"\nmeasure = "RR@10"\n'
    (data / "search" / "task.toml").write_text(definition + 'measured_queries = "all"\n')
    done = compare("--system", "first-stage", "--system", "bm25", "--latency", 0, "--json")
    assert done.status == 0, done.err
    order = list(ROWS)
    expected = [1 / (1 + min(order.index(name) for name, grade in QRELS[query].items() if grade)) for query in QUERIES]
    assert scores(done)["Top", "first stage"] == pytest.approx(sum(expected) / len(expected))
    assert ("Pairs", "first stage") not in scores(done)
    assert ("Top", "bm25") in scores(done)


def test_pipelines_score_as_an_index_does(compare, cli, models, data, tmp_path):
    done = compare("--system", "bm25:5,mono:5", "--reranker", "mono=r", "--task", "Birds", "--json")
    index = tmp_path / "birds.index"
    assert cli("index", index, data / "search", "--no-dense").status == 0
    report = cli(
        *("evaluate", index, data / "search", "--stages", "bm25:5,mono:5", "--reranker", "mono=r"),
        *("--measures", "nDCG@10", "--latency", 0, "--json"),
    ).json
    assert done.json["results"][0]["score"] == report["measures"]["nDCG@10"]


def test_policies_latency_and_formats(compare, data, models, tmp_path):
    done = compare("--task", "Birds", "--policy", "trec_eval", "--latency", 3, "--format", "csv,csv", "--json")
    for result in done.json["results"]:
        assert "trec_eval" in result["policies"]["ties"]
        assert result["costs"]["query_p50_ms"] > 0
    assert {path.suffix for path in (tmp_path / "out").iterdir() if path.is_file()} == {".csv"}


def test_a_wrong_policy_is_said_before_anything_is_made(compare, data, models, tmp_path):
    done = compare("--task", "Birds", "--policy", "nope")
    assert done.status != 0
    assert "no preset of policies 'nope'" in done.err
    assert not (tmp_path / "out").exists()


def test_models_compute_in_fp32_where_no_settings_say_otherwise(compare, data, models):
    systems = ("embedded", "embedded,precision=bf16,max_tokens=64", "bm25:3,mono:2", "bm25:3,half:2")
    given = [part for system in systems for part in ("--system", system)]
    done = compare("--task", "Birds", *given, "--reranker", "mono=a", "--reranker", "half=b,precision=bf16")
    assert done.status == 0, done.err
    assert models.settings == [
        ("embedded", {"precision": "fp32"}),
        ("embedded", {"precision": "bf16", "max_tokens": 64}),
        ("a", {"precision": "fp32"}),
        ("b", {"precision": "bf16"}),
    ]
    assert "embedded,precision=bf16,max_tokens=64" in done.out.replace("\n", "")


def test_a_task_that_fails_is_named_and_the_others_are_reported(compare, models, data):
    (data / "pairs" / "test.tsv").write_text("sentence1\tsentence2\tscore\nowl\tan owl\tmuch\n", encoding="utf-8")
    done = compare("--json")
    assert done.status == 1
    assert [failed["task"] for failed in done.json["failed"]] == ["Pairs"]
    assert len(done.json["results"]) == 2
    assert "failed: Pairs, embedded: " in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--system", "a=one", "--system", "a=two"], "two systems are called 'a': encoder 'one'"),
        (["--system", "bm25", "--system", "bm25"], "system 'bm25' is given twice"),
        (["--system", "bm25:5,mono:3"], "add --reranker mono=MODEL"),
        (["--system", "bm25:5", "--reranker", "mono=x"], "no system has a stage called 'mono'"),
        (["--system", "bm25:5", "--passages", "mono=max"], "no system has a stage called 'mono'"),
        (["--system", "bm25:x"], "is not a whole number"),
        (["--system", "sparse:5"], "needs sparse vectors"),
        (["--system", "=x"], "write NAME=SYSTEM"),
        (["--format", "pdf"], "--format 'pdf': one or more of table"),
        (["--baseline", "none"], "--baseline 'none' is none of the systems"),
        (["--task", "Nothing"], "no task 'Nothing'"),
    ],
)
def test_what_cannot_be_compared_is_one_line(compare, models, arguments, words):
    done = compare("--task", "Pairs", *arguments)
    assert done.status == 2
    assert words in done.error


def test_common_beginnings_run_once(compare, data, models):
    pipelines = ("--system", "bm25:5,mono:3", "--system", "bm25:5,mono:3,duo:2", "--system", "bm25:5")
    rerankers = ("--reranker", "mono=a", "--reranker", "duo=b")
    done = compare(*pipelines, *rerankers, "--task", "Birds", "--latency", 0, "--json")
    assert done.status == 0, done.err
    assert models.pairs == sum(min(3, each) + min(2, each) for each in MATCHES)


def test_a_folder_without_tasks_is_said(cli, tmp_path, models):
    (tmp_path / "empty").mkdir()
    assert "no task has its data in" in cli("compare", tmp_path / "empty", "--out", tmp_path / "out").error
    assert not (tmp_path / "out").exists()
