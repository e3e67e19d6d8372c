"""Published figures on real collections, measured here; and the committed reports keep to them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from eval.errors import MissingDataError
from eval.tasks.base import Surroundings
from eval.tasks.definition import EMBEDDED_MODEL
from eval.tasks.loading import load_tasks, packaged_definitions
from retrieval.cli.declared_systems import read_systems
from retrieval.cli.systems import parse_systems
from tests.eval.markdown_tables import markdown_tables

EVAL = Path(__file__).parents[2] / "eval"
SYSTEMS = EVAL / "systems.toml"

BM25, BM25_SMALL = "BM25", "BM25 k1=0.9 b=0.4"
DENSE_TRUNCATE, DENSE_CHUNK, HYBRID = "dense, truncate", "dense, chunk", "hybrid, reciprocal ranks"
BM25_FLOORS = [
    ("SciFact", BM25, 0.675),
    ("NFCorpus", BM25, 0.318),
    ("Vaswani", BM25_SMALL, 0.44),
    ("Cranfield", BM25_SMALL, 0.36),
]
BY_VECTORS = ["SciFact", "NFCorpus"]

OTHER_SYSTEMS = {EMBEDDED_MODEL, "bm25s", "first stage"}
"""Systems of published figures beside those of the file."""


def system(name):
    declared = [each for each in read_systems(SYSTEMS) if each.name == name]
    return parse_systems(declared, (), (), encoder="embedded", long="truncate")[0]


@pytest.fixture
def measure(data, tmp_path):
    """Return a function that measures a system on a task."""

    def run(name, of):
        try:
            (task,) = load_tasks(data, [name])
        except MissingDataError as fault:
            pytest.skip(str(fault))
        result = task.run(of, Surroundings(tmp_path))
        # Two documents of Cranfield have neither title nor text, so they are not indexed; one of them is relevant.
        lost = result.counts.get("relevant documents that are not in the corpus", 0)
        assert lost == (1 if name == "Cranfield" else 0)
        return result

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("name", "of", "floor"), BM25_FLOORS, ids=[name for name, _, _ in BM25_FLOORS])
def test_bm25_floors(measure, name, of, floor):
    found = measure(name, system(of))
    assert found.settings["mode"] == "bm25"
    assert found.score >= floor
    assert found.reference is not None
    assert found.reference.tolerance is None, "another implementation binds nothing"


@pytest.mark.slow
def test_dense_and_hybrid(measure):
    """Of one collection, which takes minutes; `make reproduce` encodes the others too, its report is checked below."""
    name = "NFCorpus"
    dense = measure(name, system(DENSE_TRUNCATE))
    assert dense.settings["mode"] == "dense"
    assert dense.reference.tolerance == 0.002
    assert dense.score == pytest.approx(dense.reference.value, abs=dense.reference.tolerance)
    # Over the same vectors: those of passages would be as much to encode again.
    hybrid = measure(name, replace(system(HYBRID), long="truncate"))
    assert hybrid.settings["mode"] == "hybrid"
    assert hybrid.score >= max(dense.score, measure(name, system(BM25)).score)


def test_figures_belong_to_systems():
    names = [each.name for each in read_systems(SYSTEMS)]
    assert len(set(names)) == len(names)
    named = {figure.system for definition in packaged_definitions() for figure in definition.references}
    assert named <= {*names, *OTHER_SYSTEMS}
    assert {BM25, BM25_SMALL} <= named


def report(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Evaluation report"), f"{path} is no report: make reproduce, make compare"
    return markdown_tables(text)


@pytest.fixture(scope="module")
def committed():
    """Main scores and verdicts of eval/RESULTS.md, by task and system."""
    scores, published, *_ = report(EVAL / "RESULTS.md")
    names = [head.partition(" [")[0] for head in scores[0][4:]]
    measured = {row[0]: dict(zip(names, row[4:], strict=True)) for row in scores[1:] if row[1]}
    return (
        {task: {of: float(cell.partition(" ")[0]) for of, cell in row.items()} for task, row in measured.items()},
        {(row[0], row[1]): row[-1] for row in published[1:]},
    )


def test_the_committed_report_reaches_what_is_published(committed):
    scores, verdicts = committed
    for name in ("SciFact", "NFCorpus", "Vaswani", "Cranfield"):
        assert verdicts[name, DENSE_TRUNCATE] == "within"
        assert set(scores[name]) == {each.name for each in read_systems(SYSTEMS)}
    for name in BY_VECTORS:
        assert scores[name][HYBRID] >= max(scores[name][BM25], scores[name][DENSE_CHUNK])
    for name, of, floor in BM25_FLOORS:
        assert scores[name][of] >= floor


@pytest.mark.parametrize("path", [EVAL / "RESULTS.md", EVAL / "tasks" / "RESULTS.md"], ids=["systems", "tasks"])
def test_no_committed_figure_is_outside_its_tolerance(path):
    _, published, *_ = report(path)
    verdicts = [row[-1] for row in published[1:]]
    assert "within" in verdicts
    assert "outside" not in verdicts
