"""The command that measures the results table, on a test set small enough to watch."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from eval import reproduce
from eval.references import SYSTEMS


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(reproduce.main)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_measuring_one_set_keeps_the_others(data, tmp_path, command):
    output, workspace = tmp_path / "output", tmp_path / "workspace"
    output.mkdir()
    arguments = ["--data", data, "--only", "adi", "--output", output, "--workspace", workspace, "--latency", 0]
    assert command(*arguments).exit_code == 0
    results = json.loads((output / "results.json").read_text())
    entry = results["adi"]
    assert (entry["documents"], entry["queries"]) == (82, 35)
    rows = {row["system"]: row for row in entry["rows"]}
    assert list(rows) == [system.name for system in SYSTEMS]
    assert all(0.2 < row["measures"]["nDCG@10"] < 0.8 for row in rows.values())
    assert rows["BM25 k1=0.9 b=0.4"]["measures"]["nDCG@10"] == pytest.approx(0.4802, abs=0.03)
    assert "## adi" in (output / "RESULTS.md").read_text()

    (output / "results.json").write_text(json.dumps({"scifact": entry, **results}))
    assert command(*arguments).exit_code == 0  # collections are used again
    again = json.loads((output / "results.json").read_text())
    assert list(again) == ["scifact", "adi"]
    assert [row["measures"] for row in again["adi"]["rows"]] == [row["measures"] for row in entry["rows"]]


def test_an_unknown_set_and_a_missing_folder_are_one_line(tmp_path, command):
    unknown = command("--only", "nothing", "--output", tmp_path)
    assert unknown.exit_code == 2
    assert "no test set 'nothing'" in unknown.output
    missing = command("--data", tmp_path / "nowhere", "--only", "adi", "--output", tmp_path)
    assert missing.exit_code == 1
    assert "no folder" in missing.output
    assert "Traceback" not in missing.output
