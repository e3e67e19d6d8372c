"""`retrieval teach`: a teacher's scores, their mean, and their forms."""

from __future__ import annotations

import json

import pytest

from tests.cli.test_cli_startup import HEAVY, loaded_by
from tests.distillation.conftest import N_TRIPLES, marco
from tests.rerankers.conftest import classifier
from tests.retrieval.conftest import own_cache

__all__ = ["classifier", "marco", "own_cache"]


@pytest.fixture
def scores(tmp_path):
    """A file of two lines."""
    path = tmp_path / "scores.tsv"
    path.write_text("2.5\t1.0\tq1\tp1\tp2\n0.5\t0.25\tq2\tp3\tp4\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("arguments", [["--help"], ["score", "--help"]])
def test_help_loads_nothing_heavy(arguments):
    loaded = loaded_by("teach", *arguments)
    assert not loaded & {*HEAVY, "numpy", "numba", "pyarrow", "rich", "msgspec", "scipy"}


@pytest.mark.usefixtures("own_cache")
def test_scores_of_a_model(cli, marco, classifier, tmp_path):
    out = tmp_path / "t.tsv"
    command = ("teach", "score", "--data", marco, "--reranker", classifier(), "--out", out, "--max-tokens", 32)
    done = cli(*command)
    assert done.status == 0, done.err
    assert f"scored {N_TRIPLES} tuples: 24 pairs in " in done.out
    assert f"wrote {out}" in done.out
    assert done.err == f"retrieval: {marco}: read {N_TRIPLES} tuples\n"
    assert len(out.read_text().splitlines()) == N_TRIPLES
    again = cli(*command, "--json")
    assert (again.status, again.json["adopted"], again.json["pairs"]) == (0, N_TRIPLES, 0)
    other = cli(*command[:-1], 16)
    assert other.status == 2
    assert other.error == f"{out} is there already; choose another name"


def test_an_interrupted_run_says_how_to_go_on(cli, marco, tmp_path, monkeypatch):
    from retrieval import rerankers

    class Interrupting(rerankers.FunctionReranker):
        def __init__(self) -> None:
            super().__init__(self._interrupt)

        def _interrupt(self, _query, _texts):
            raise KeyboardInterrupt

    monkeypatch.setattr(rerankers, "load_reranker", lambda *_place, **_settings: Interrupting())
    done = cli("teach", "score", "--data", marco, "--reranker", "x", "--out", tmp_path / "t.tsv")
    assert done.status == 130
    assert "the same command goes on" in done.err


def test_a_model_that_is_not_there(cli, marco, tmp_path):
    done = cli("teach", "score", "--data", marco, "--reranker", tmp_path / "no", "--out", tmp_path / "t.tsv")
    assert done.status == 2
    assert str(tmp_path / "no") in done.error


def test_the_mean_of_files(cli, scores, tmp_path):
    other = tmp_path / "other.tsv"
    other.write_text("3.5\t0\tq1\tp1\tp2\n1.5\t0.75\tq2\tp3\tp4\n", encoding="utf-8")
    done = cli("teach", "ensemble", scores, other, "--out", tmp_path / "e.tsv")
    assert done.status == 0, done.err
    assert done.out == f"wrote 2 tuples to {tmp_path / 'e.tsv'}\n"
    assert (tmp_path / "e.tsv").read_text() == "3.0\t0.5\tq1\tp1\tp2\n1.0\t0.5\tq2\tp3\tp4\n"
    other.write_text("3.5\t0\tq1\tp1\tp3\n", encoding="utf-8")
    refused = cli("teach", "ensemble", scores, other, "--out", tmp_path / "f.tsv")
    assert refused.status == 2
    assert f"{other}:1 holds another tuple than {scores}:1" in refused.error


def test_other_forms(cli, scores, tmp_path):
    out = tmp_path / "a.jsonl"
    assert cli("teach", "convert", scores, "--out", out, "--label", "margin", "--json").json == {
        "out": str(out),
        "tuples": 2,
        "skipped": {},
    }
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows[0] == {"query_id": "q1", "positive_id": "p1", "negative_id": "p2", "label": 1.5}
    scores.write_text(scores.read_text() + "nan\t1\tq1\tp1\tp2\n", encoding="utf-8")
    done = cli("teach", "convert", scores, "--out", tmp_path / "b.parquet")
    assert done.status == 0
    assert f"read 2 tuples; skipped 1: score is not finite 1 (first {scores}:3)" in done.err
    strict = cli("teach", "convert", scores, "--out", tmp_path / "c.parquet", "--strict")
    assert strict.status == 2
    assert not (tmp_path / "c.parquet").exists()
