"""Run files: what is written is what is read, here and in trec_eval."""

from __future__ import annotations

import gzip
import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.errors import RunError
from eval.runs import read_msmarco_run, read_run, write_msmarco_run, write_run

RUN = {"q1": [("d2", 3.5), ("d1", 3.5), ("d3", -1.0)], "q2": [("ä文", 1e-30)], "empty": []}


@pytest.mark.parametrize("name", ["a.run", "a.run.gz"])
def test_order_survives_a_round_trip(tmp_path, name):
    write_run(tmp_path / name, RUN)
    back = read_run(tmp_path / name)
    assert {query: [document for document, _ in ranking] for query, ranking in back.items()} == {
        "q1": ["d2", "d1", "d3"],
        "q2": ["ä文"],
    }
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_columns(tmp_path):
    write_run(tmp_path / "a.run", {"q": [("d", 0.5)]}, tag="mine")
    assert (tmp_path / "a.run").read_text() == "q Q0 d 1 0.5 mine\n"


def test_equal_runs_make_equal_gzip_files(tmp_path):
    write_run(tmp_path / "a.gz", RUN)
    write_run(tmp_path / "b.gz", RUN)
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


def test_exact_scores_are_bit_equal(tmp_path):
    run = {"q": [("a", 1 / 3), ("b", 1 / 3), ("c", math.nextafter(1 / 3, 0))]}
    write_run(tmp_path / "a.run", run, exact_scores=True)
    assert read_run(tmp_path / "a.run") == run


_SCORES = st.lists(st.floats(-1e30, 1e30) | st.integers(-2, 2).map(float), min_size=1, max_size=20)


@settings(deadline=None, max_examples=100)
@given(scores=_SCORES)
def test_trec_eval_reads_the_order_that_was_written(tmp_path_factory, scores):
    """In 32-bit floats each score is below the one before it, and none has moved further than it had to."""
    path = tmp_path_factory.mktemp("runs") / "a.run"
    ranking = [(f"d{i}", score) for i, score in enumerate(sorted(scores, reverse=True))]
    write_run(path, {"q": ranking})
    theirs = [(line.doc_id, line.score) for line in ir_measures.read_trec_run(str(path))]
    assert [document for document, _ in theirs] == [document for document, _ in ranking]
    assert [document for document, _ in read_run(path)["q"]] == [document for document, _ in ranking]
    written = np.array([score for _, score in theirs], dtype=np.float32)
    assert (written[1:] < written[:-1]).all()
    wanted = np.array([score for _, score in ranking], dtype=np.float32)
    untouched = np.concatenate([[True], wanted[1:] < written[:-1]])
    assert (written[untouched] == wanted[untouched]).all()


@pytest.mark.parametrize(
    ("run", "words"),
    [
        ({"q": [("a b", 1.0)]}, "'a b' is empty or holds white space"),
        ({"q\n": [("a", 1.0)]}, r"'q\\n' is empty or holds white space"),
        ({"q": [("", 1.0)]}, "is empty"),
        ({"q": [("a", float("nan"))]}, "nan"),
        ({"q": [("a", 1e39)]}, "does not fit a 32-bit float"),
        ({"q": [("a", -3.4028235e38), ("b", -3.4028235e38)]}, "does not fit a 32-bit float"),
    ],
)
def test_what_the_format_cannot_carry_is_refused_and_nothing_is_left(tmp_path, run, words):
    (tmp_path / "a.run").write_text("before")
    with pytest.raises(RunError, match=words):
        write_run(tmp_path / "a.run", run)
    assert [path.name for path in tmp_path.iterdir()] == ["a.run"]
    assert (tmp_path / "a.run").read_text() == "before"


def test_ids_with_spaces_that_are_not_of_ascii_can_be_carried(tmp_path):
    run = {"q\u3000x": [("d\u00a0one", 2.0), ("d\u2003", 1.0), ("d\u00a0", 0.5)]}
    write_run(tmp_path / "a.run", run)
    assert read_run(tmp_path / "a.run") == run
    write_msmarco_run(tmp_path / "a.tsv", run)
    found = read_msmarco_run(tmp_path / "a.tsv")
    assert {query: [name for name, _ in ranking] for query, ranking in found.items()} == {
        query: [name for name, _ in ranking] for query, ranking in run.items()
    }


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(RunError, match="cannot write"):
        write_run(tmp_path / "nowhere" / "a.run", RUN)
    with pytest.raises(RunError, match="cannot read"):
        read_run(tmp_path / "nowhere.run")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("q Q0 d 1 2.0", "a.run:2: 5 columns instead of 6"),
        ("q Q0 d first 2.0 tag", "a.run:2: rank 'first'"),
        ("q Q0 d 1 high tag", "score 'high' is not a number"),
        ("q Q0 d 1 nan tag", "the score is nan"),
        ("q Q0 d0 1 2.0 tag", "document 'd0' is twice"),
    ],
)
def test_bad_lines_are_named(tmp_path, line, words):
    (tmp_path / "a.run").write_text(f"q Q0 d0 1 2.0 tag\n{line}\n")
    with pytest.raises(RunError, match=words):
        read_run(tmp_path / "a.run")


def test_scores_decide_and_ranks_break_ties(tmp_path):
    (tmp_path / "a.run").write_text("q Q0 a 3 1.0 t\nq Q0 b 2 1.0 t\nq Q0 c 1 0.5 t\nq Q0 d 4 2.0 t\n")
    assert [document for document, _ in read_run(tmp_path / "a.run")["q"]] == ["d", "b", "a", "c"]


def test_ids_may_hold_spaces_that_are_not_of_ascii(tmp_path):
    (tmp_path / "a.run").write_text("q\u00a01 Q0 a\u3000b 1 1.0 t\n", encoding="utf-8")
    assert read_run(tmp_path / "a.run") == {"q\u00a01": [("a\u3000b", 1.0)]}


def test_broken_files(tmp_path):
    (tmp_path / "a.run.gz").write_bytes(gzip.compress(b"q Q0 d 1 2.0 tag\n")[:-12])
    with pytest.raises(RunError, match="damaged file"):
        read_run(tmp_path / "a.run.gz")
    (tmp_path / "b.run").write_bytes(b"q Q0 d\xff 1 2.0 tag\n")
    with pytest.raises(RunError, match=r"b\.run:1: not UTF-8"):
        read_run(tmp_path / "b.run")


@pytest.mark.parametrize(("name", "fault"), [("\ud800", "lone surrogate"), ("\ufeffq", "byte order mark")])
def test_ids_that_would_not_come_back_are_refused(tmp_path, name, fault):
    for run in ({name: [("d", 1.0)]}, {"q": [(name, 1.0)]}):
        with pytest.raises(RunError, match=fault):
            write_run(tmp_path / "run", run)
    assert not list(tmp_path.iterdir())


def test_a_run_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"):
        write_run(tmp_path / "file" / "run", {"q": [("d", 1.0)]})
