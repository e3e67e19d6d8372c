"""The record of all probes: each is kept until it is run again."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from eval.outcome import Outcome, read_outcomes
from eval.probes import __main__ as record


def run(*arguments):
    app = typer.Typer()
    app.command()(record.main)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def probe(title, value):
    return lambda data, seed: Outcome(title, ["measure", "value"], [["x", f"{value} {seed}"]], [], {"value": value})


def test_a_probe_that_is_not_run_keeps_its_record(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "PROBES", {"one": probe("One", 1), "two": probe("Two", 2)})
    assert run("--output", tmp_path, "--seed", 7).exit_code == 0
    monkeypatch.setattr(record, "PROBES", {"one": probe("One", 3), "two": probe("Two", 4)})
    assert run("--output", tmp_path, "--only", "one").exit_code == 0
    kept = {outcome.title: outcome.numbers["value"] for outcome in read_outcomes(tmp_path / "results.json")}
    assert kept == {"One": 3, "Two": 2}
    text = (tmp_path / "RESULTS.md").read_text()
    assert "| x | 3 0 |" in text
    assert "| x | 2 7 |" in text


def test_a_probe_that_there_is_not(tmp_path):
    found = run("--output", tmp_path, "--only", "needles")
    assert found.exit_code == 2
    assert "no probe 'needles'; there are needle, sts, geometry, layers, fertility, bertscore" in found.output


def test_missing_data_is_one_line(tmp_path):
    found = run("--data", tmp_path, "--output", tmp_path / "out", "--only", "geometry")
    assert found.exit_code == 1
    assert "error: cannot read" in found.output
    assert not (tmp_path / "out").exists()
