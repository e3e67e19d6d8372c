"""`retrieval measure`: run files against judgements, by hand and against published figures."""

from __future__ import annotations

import pytest

from tests.eval.test_protocols import NAMES, RUNS


@pytest.fixture
def files(tmp_path):
    (tmp_path / "qrels.txt").write_text("q1 0 a 1\nq1 0 b 3\nq2 0 c 2\nq3 0 d 1\n")
    (tmp_path / "ours.run").write_text("q1 Q0 a 1 2.0 x\nq1 Q0 b 2 1.0 x\nq2 Q0 z 1 3.0 x\nq2 Q0 c 2 1.0 x\n")
    (tmp_path / "theirs.tsv").write_text("q1\tb\t1\nq2\tz\t1\nq2\ty\t2\nq2\tc\t3\n")
    return tmp_path


def test_runs_of_both_formats_by_hand(cli, files):
    arguments = ("measure", files / "ours.run", files / "theirs.tsv", "--qrels", files / "qrels.txt", "--json")
    found = cli(*arguments, "--measures", "RR@10 R@10", "--per-query").json
    ours, theirs = (found["runs"][str(files / name)] for name in ("ours.run", "theirs.tsv"))
    assert ours["measures"]["RR@10"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert theirs["measures"]["RR@10"] == pytest.approx((1 + 1 / 3 + 0) / 3)
    assert theirs["measures"]["R@10"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert ours["queries"] == {"judged": 3, "missing": 1, "without_relevant": 0, "unjudged": 0, "skipped": 0}
    assert ours["per_query"]["q2"]["RR@10"] == pytest.approx(1 / 2)
    shallow = cli(*arguments, "--measures", "RR@10", "--depth", 2).json["runs"]
    assert shallow[str(files / "theirs.tsv")]["measures"]["RR@10"] == pytest.approx(1 / 3)
    strict = cli(*arguments, "--measures", "RR@10", "--relevant", 2).json["runs"]
    assert strict[str(files / "ours.run")]["measures"]["RR(rel=2)@10"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    skipping = cli(*arguments, "--measures", "RR@10", "--policies", "trec_eval").json["runs"]
    assert skipping[str(files / "ours.run")]["measures"]["RR@10"] == pytest.approx((1 + 1 / 2) / 2)


def test_a_protocol_brings_measures_and_policies(cli, files):
    arguments = ("measure", files / "ours.run", "--qrels", files / "qrels.txt", "--protocol")
    found = cli(*arguments, "trec-dl-2021-passage", "--json").json
    assert found["depth"] == 100
    assert next(iter(found["runs"][str(files / "ours.run")]["measures"])) == "nDCG@10"
    assert "grades of 2" in found["policies"]["gains"]
    trec = cli(*arguments, "trec-dl-2021-passage", "--policies", "trec_eval", "--json").json
    assert "grades of 2" in trec["policies"]["gains"], "the policies say nothing of grades, the protocol does"
    assert trec["policies"]["ties"] != found["policies"]["ties"]
    table = cli(*arguments, "msmarco-passage")
    assert table.status == 0
    for words in ("ours.run", "RR@10", "R@1000", "missing queries"):
        assert words in table.out


@pytest.mark.parametrize(
    ("run", "qrels", "arguments", "words"),
    [
        ("ours.run", "qrels.txt", ("--protocol", "trec-9"), "no protocol 'trec-9'; there are msmarco-passage"),
        ("ours.run", "qrels.txt", ("--split", "test"), "is a file and has no split 'test'"),
        ("ours.run", "qrels.txt", ("--measures", "Sharpness"), "Sharpness"),
        ("empty.run", "qrels.txt", (), "is empty"),
        ("nothing.run", "qrels.txt", (), "nothing.run"),
        ("ours.run", "nothing.txt", (), "nothing.txt"),
    ],
)
def test_what_cannot_be_measured_is_one_line(cli, files, run, qrels, arguments, words):
    (files / "empty.run").write_text("")
    found = cli("measure", files / run, "--qrels", files / qrels, *arguments)
    assert found.status == 2
    assert words in found.error


@pytest.mark.parametrize("collection", RUNS)
def test_published_runs_score_as_published(cli, data_folder, collection):
    folder, published = data_folder(collection), RUNS[collection]
    runs = {name: folder / "runs" / f"top100.{name}.trec.gz" for name in published}
    found = cli("measure", *runs.values(), "--qrels", folder, "--protocol", NAMES[collection], "--json").json
    measured = {name: found["runs"][str(path)]["measures"]["nDCG@10"] for name, path in runs.items()}
    assert measured == pytest.approx(published, abs=6e-5)
