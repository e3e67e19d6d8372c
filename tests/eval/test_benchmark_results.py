"""What the benchmarks leave: plots that are the same for the same numbers, and tables of several runs in one file."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import eval.benchmarks
from eval.benchmarks.__main__ import PARTS, Part, in_order, markdown, superseded, write
from eval.benchmarks.drawing import captions, draw
from eval.benchmarks.plots import PLOTS
from eval.outcome import Outcome, outcomes_json, read_outcomes

COMMITTED = Path(eval.benchmarks.__file__).parent / "results.json"


def bm25():
    seconds = {"ours": [0.1, 0.2], "bm25s": [0.4, 0.4], "tantivy": [0.5, 0.6]}
    batches = [
        {"state": state, "words": words, "k": k, "queries": 10, "seconds": seconds}
        for state in ("compacted", "segments")
        for words in ("2-4", "5-10", "11-30", "own")
        for k in (10, 1000)
    ]
    sweep = [{"k": k, "queries": 10, "seconds": seconds} for k in (1, 10, 100)]
    return Outcome("BM25 search, synthetic, one core", ["side"], [["ours"]], [], {"batches": batches, "sweep": sweep})


def grown():
    rows = [{"words": words, "k": k, "seconds": [0.1]} for words in ("2-4", "5-10", "11-30") for k in (10, 1000)]
    sizes = [{"n": n, "search": {"rows": rows, "queries": 5}} for n in (100, 1000)]
    return Outcome("Growth, BM25", ["texts"], [["100"]], [], {"sizes": sizes})


def sparse():
    batches = [
        {"side": side, "point": "", "set": "synthetic", "k": 10, "queries": 4, "seconds": [0.1], "recall": recall}
        for side, recall in (
            ("ours", 1.0),
            ("ours, daring", 0.97),
            ("scipy", 1.0),
            ("seismic", 0.8),
            ("seismic", 0.9),
            ("bmp", 0.95),
        )
    ]
    title = "Learned sparse search, 1,000 documents, one core"
    return Outcome(title, ["side"], [["ours"]], [], {"batches": batches, "documents": 1000})


def encoded():
    lengths = [{"length": n, "texts": 100 // n, "seconds": {"engine": [0.1], "peer": [0.3, 0.2]}} for n in (8, 16)]
    return Outcome("Encoding, by length", ["side"], [["engine"]], [], {"lengths": lengths})


def lengthy():
    rounds = {"512": [{"seconds": 0.1, "memory": 1 << 20}], "1024": [{"seconds": 0.3, "memory": 0}]}
    return Outcome("Encoder length", ["encoder"], [["dense"]], [], {"measured": {"dense": rounds, "blockwise": rounds}})


def test_plots_are_the_same_for_the_same_numbers(tmp_path):
    pytest.importorskip("matplotlib")
    outcomes = [bm25(), grown(), sparse(), encoded(), lengthy()]
    for folder in ("a", "b"):
        assert [plot.file for plot in draw(PLOTS, outcomes, tmp_path / folder)] == [plot.file for plot in PLOTS]
    for plot in PLOTS:
        content = (tmp_path / "a" / plot.file).read_bytes()
        assert content == (tmp_path / "b" / plot.file).read_bytes()
        assert len(content) < 100_000
        assert b"<dc:date>" not in content
        ElementTree.fromstring(content)
    assert "ours, k = 1,000" in (tmp_path / "a" / "bm25-query-length.svg").read_text()
    assert "seismic" in (tmp_path / "a" / "sparse-recall.svg").read_text()


def test_other_numbers_make_another_plot(tmp_path):
    pytest.importorskip("matplotlib")
    other = grown()
    other.numbers["sizes"][0]["n"] = 50
    draw(PLOTS, [grown()], tmp_path / "a")
    draw(PLOTS, [other], tmp_path / "b")
    name = "bm25-collection-size.svg"
    assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "b" / name).read_bytes()


def test_a_plot_without_numbers_is_not_there(tmp_path):
    pytest.importorskip("matplotlib")
    draw(PLOTS, [bm25(), sparse()], tmp_path)
    drawn = draw(PLOTS, [sparse()], tmp_path)
    assert [plot.file for plot in drawn] == ["sparse-recall.svg"]
    assert [path.name for path in tmp_path.iterdir()] == ["sparse-recall.svg"]
    assert captions(drawn)["sparse-recall.svg"].endswith("(plots/sparse-recall.svg)")


def test_outcomes_survive_being_stored(tmp_path):
    outcomes = [bm25(), grown()]
    (tmp_path / "results.json").write_bytes(outcomes_json(outcomes))
    assert read_outcomes(tmp_path / "results.json") == outcomes
    assert read_outcomes(tmp_path / "nothing.json") == []


def test_the_committed_results_can_be_read_and_belong_to_a_part():
    outcomes = read_outcomes(COMMITTED)
    assert outcomes
    assert len(in_order(outcomes)) == len(outcomes)


def test_results_are_in_the_order_of_the_parts():
    outcomes = [grown(), bm25(), Outcome("Cold start", ["a"], [["b"]], [], {})]
    titles = [outcome.title for outcome in in_order(outcomes)]
    assert titles == ["Cold start", "BM25 search, synthetic, one core", "Growth, BM25"]
    assert len({part.title for part in PARTS}) == len(PARTS)


def test_results_name_their_machine(tmp_path):
    here = bm25()
    there = replace(grown(), machine={"processor": "Abacus", "cores": 7, "system": "Wood"}, versions={"beads": "1.0"})
    text = markdown([here, there], ["![caption](plots/x.svg)"])
    assert f"Machine: {here.machine['processor']}" in text
    assert "- measured on another machine: Abacus, 7 cores, Wood" in text
    assert "beads 1.0" in text
    assert text.index("plots/x.svg") < text.index("## BM25 search")
    write([here, there], tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())[1]["title"] == "Growth, BM25"
    assert (tmp_path / "RESULTS.md").read_text().startswith("# Speed\n")


def test_an_unknown_part_is_refused(tmp_path):
    import typer

    from eval.benchmarks.__main__ import main

    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, ["--only", "nothing", "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert "unknown part 'nothing'" in result.output
    assert not list(tmp_path.iterdir())


def test_what_another_machine_measured_stays_for_sides_that_this_one_lacks():
    def outcome(title, sides, processor):
        return Outcome(title, ["side"], [[side] for side in sides], [], {}, {"processor": processor}, {})

    part = Part("encoding", "Encoding", lambda options: [])
    old = outcome("Encoding", ["fp32", "bf16"], "A")
    assert not superseded(old, part, [outcome("Encoding", ["fp32"], "B")])
    assert superseded(old, part, [outcome("Encoding", ["fp32"], "A")]), "the same machine, anew"
    assert superseded(old, part, [outcome("Encoding", ["fp32", "bf16", "int8"], "B")])
    assert superseded(outcome("Encoding, gone", ["fp32"], "A"), part, [outcome("Encoding", ["fp32"], "B")])
    assert not superseded(outcome("Growth", ["fp32"], "A"), part, [outcome("Encoding", ["fp32"], "B")])
