"""`retrieval report`: stored results as reports on standard output, in a file, in a folder; what cannot be reported."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import pytest

from eval.running import ResultStore
from tests.eval.sample_results import SYSTEMS, sample_results

BM25, ENCODER, HYBRID = SYSTEMS


@pytest.fixture
def stored(tmp_path):
    store = ResultStore(tmp_path / "comparison" / "results")
    for result in sample_results():
        store.write(result, {"seed": 42})
    return tmp_path / "comparison"


def test_the_terminal_is_the_default(cli, stored):
    found = cli("report", stored / "results")
    assert found.status == 0
    assert found.err == ""
    assert "SciFact" in found.out
    assert "Holm" in found.out
    assert cli("report", stored).out == found.out, "a comparison's folder will do"


@pytest.mark.parametrize("form", ["json", "csv", "latex", "markdown", "html"])
def test_other_formats_go_to_standard_output_too(cli, stored, tmp_path, form):
    found = cli("report", stored, "--format", form)
    assert found.status == 0
    assert cli("report", stored, "--format", form, "--out", tmp_path / "report.x").status == 0
    assert (tmp_path / "report.x").read_text(encoding="utf-8") == found.out
    check = {
        "json": lambda: len(json.loads(found.out)["results"]) == len(sample_results()),
        "csv": lambda: {row["system"] for row in csv.DictReader(io.StringIO(found.out))} == set(SYSTEMS),
        "latex": lambda: found.out.count(r"\begin{tabular}") == 3,
        "markdown": lambda: found.out.startswith("# Evaluation report\n"),
        "html": lambda: found.out.startswith("<!doctype html>"),
    }
    assert check[form]()


def test_several_formats_go_to_a_folder(cli, stored, tmp_path):
    found = cli("report", stored, "--format", "html,json", "--out", tmp_path / "report")
    assert found.status == 0
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == ["report.html", "report.json"]
    assert "wrote 2 files" in found.err


def test_a_baseline_and_a_choice(cli, stored):
    found = cli(
        "report", stored, "--format", "json", "--baseline", ENCODER, "--task", "Pairs", "--task", "SciFact"
    ).json
    assert [task["task"] for task in found["tasks"]] == ["Pairs", "SciFact"]
    assert {pair["first"] for pair in found["comparisons"]["pairs"]} == {ENCODER}
    found = cli("report", stored, "--format", "json", "--system", HYBRID, "--system", BM25, "--family", "all").json
    assert found["systems"] == [HYBRID, BM25]
    assert found["comparisons"]["family"] == "all"


def test_several_folders_are_one_report(cli, stored, tmp_path):
    other = ResultStore(tmp_path / "more")
    for result in sample_results():
        if result.system == BM25:
            other.write(replace(result, system="BM25 again"), {})
    found = cli("report", stored, tmp_path / "more", "--format", "json").json
    assert set(found["systems"]) == {*SYSTEMS, "BM25 again"}
    twins = [pair for pair in found["comparisons"]["pairs"] if {pair["first"], pair["second"]} == {BM25, "BM25 again"}]
    assert twins
    assert all(pair["difference"] == 0 for pair in twins)


def test_different_queries_are_refused_or_left_out(cli, stored):
    store = ResultStore(stored / "results")
    result = sample_results()[0]
    fewer = {item: value for item, value in result.values.items() if item != "q7"}
    store.write(replace(result, values=fewer), {})
    assert "'q7'" in cli("report", stored, "--items", "same").error
    found = cli("report", stored, "--format", "json").json
    assert {pair["n"] for pair in found["comparisons"]["pairs"] if pair["task"] == "SciFact"} == {59}


def test_why_a_system_was_not_measured_is_said(cli, stored):
    store = ResultStore(stored / "results")
    (result, *_) = sample_results()
    store.write_reason("Unheard", BM25, "bm25 has no ears")
    store.write_reason("Unheard", "nobody", "a system without any result is not reported")
    found = cli("report", stored, "--format", "json").json
    reasons = {(one["task"], one["system"]): one["reason"] for one in found["unmeasured"]}
    assert reasons["Unheard", BM25] == "bm25 has no ears"
    assert "nobody" not in {system for _, system in reasons}
    assert (result.task, result.system) not in reasons
    store.write_reason(result.task, result.system, "its file is gone")
    found = cli("report", stored, "--format", "json").json
    reasons = {(one["task"], one["system"]): one["reason"] for one in found["unmeasured"]}
    assert reasons[result.task, result.system] == "its file is gone", "what was measured before is out of date"
    (damaged, *_) = (stored / "results").glob("Unheard*")
    damaged.write_text("{", encoding="utf-8")
    assert str(damaged) in cli("report", stored).error


def test_systems_measured_on_other_data_are_refused(cli, stored):
    store = ResultStore(stored / "results")
    first, second = (result for result in sample_results() if result.task == "SciFact" and result.system != HYBRID)
    for result, digest in ((first, "1"), (second, "2")):
        changed = replace(result, settings={"task": {"definition": {}, "files": {"qrels/test.tsv": digest}}})
        store.write(changed, {"seed": 42})
    found = cli("report", stored)
    assert found.status == 2
    assert "measured on other files (qrels/test.tsv)" in found.error
    assert cli("report", stored, "--system", first.system).status == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--baseline", "nobody"], "baseline 'nobody' is not among the systems"),
        (["--task", "nothing"], "no results of task 'nothing'"),
        (["--system", "nobody"], "no results of system 'nobody'"),
        (["--format", "html,json"], "add --out FOLDER"),
        (["--format", "pdf"], "one or more of table,json,csv,latex,markdown,html"),
        (["--format", "html", "--out", "no/such/report.html"], "no folder no/such"),
    ],
)
def test_what_cannot_be_reported(cli, stored, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    found = cli("report", stored, *arguments)
    assert found.status == 2
    assert words in found.error


def test_an_empty_folder_has_no_results(cli, tmp_path):
    found = cli("report", tmp_path)
    assert found.status == 2
    assert "no results" in found.error
