"""`retrieval evaluate`: measures, policies, run files, and test sets that cannot be read."""

from __future__ import annotations

import json

import ir_measures
import pytest


@pytest.fixture
def testset(tmp_path, documents):
    """A BEIR folder with three judged queries; one of them finds nothing."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    rows = [{"_id": document["id"].replace(" ", "_").replace("\n", "_"), **document} for document in documents]
    for row in rows:
        del row["id"]
    queries = [{"_id": "q1", "text": "csv rows"}, {"_id": "q2", "text": "JSON file"}, {"_id": "q3", "text": "zebra"}]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)), encoding="utf-8")
    judged = "query-id\tcorpus-id\tscore\nq1\tcsv.DictReader\t1\nq2\tcsv.DictReader\t1\nq3\tjson.load\t1\n"
    (folder / "qrels" / "test.tsv").write_text(judged, encoding="utf-8")
    return folder


@pytest.fixture
def index(cli, tmp_path, testset):
    assert cli("index", tmp_path / "x.index", testset, "--no-dense").status == 0
    return tmp_path / "x.index"


def test_measures_policies_and_latency(cli, index, testset):
    report = cli("evaluate", index, testset, "--json", "--measures", "RR@10 P@1,R@100", "--per-query").json
    # q1 at rank 1, q2 at rank 2 behind json.load, q3 not at all.
    assert report["measures"]["RR@10"] == pytest.approx((1 + 0.5 + 0) / 3)
    assert report["measures"]["P@1"] == pytest.approx(1 / 3)
    assert report["measures"]["R@100"] == pytest.approx(2 / 3)
    assert report["mode"] == "bm25"
    assert report["queries"]["missing"] == 1
    assert report["latency_ms"]["p95"] >= report["latency_ms"]["p50"] > 0
    assert "missing queries" in report["policies"]
    assert set(report["per_query"]) == {"RR@10", "P@1", "R@100"} or set(report["per_query"]) == {"q1", "q2", "q3"}


def test_the_way_of_another_evaluator(cli, index, testset):
    report = cli("evaluate", index, testset, "--json", "--measures", "RR@10", "--policies", "trec_eval").json
    # q3 finds nothing, and trec_eval leaves such queries out.
    assert report["measures"]["RR@10"] == pytest.approx((1 + 0.5) / 2)
    assert report["queries"]["skipped"] == 1
    beir = cli("evaluate", index, testset, "--json", "--policies", "beir").json
    assert "removed" in beir["policies"]["self-matches"]
    assert cli("evaluate", index, testset, "--policies", "mine").status != 0
    changed = cli("evaluate", index, testset, "--json", "--policies", "beir,ignore_identical_ids=false").json
    assert "kept" in changed["policies"]["self-matches"]


def test_a_table_for_people(cli, index, testset):
    done = cli("evaluate", index, testset)
    assert done.status == 0
    for words in ("nDCG@10", "R@100", "RR@10", "AP@100", "missing queries"):
        assert words in done.out


def test_a_run_file_gives_the_same_values_elsewhere(cli, index, testset, tmp_path):
    report = cli("evaluate", index, testset, "--run", tmp_path / "run.txt", "--json").json
    run = list(ir_measures.read_trec_run(str(tmp_path / "run.txt")))
    lines = (testset / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]
    qrels = [ir_measures.Qrel(query, document, int(grade)) for query, document, grade in map(str.split, lines)]
    measured = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)
    assert report["measures"]["nDCG@10"] == pytest.approx(measured[ir_measures.nDCG @ 10])


def test_ids_that_a_run_file_cannot_carry_take_no_measure_away(cli, tmp_path, testset):
    for file in ("corpus.jsonl", "qrels/test.tsv"):
        text = (testset / file).read_text(encoding="utf-8")
        (testset / file).write_text(text.replace("csv.DictReader", "csv DictReader"), encoding="utf-8")
    assert cli("index", tmp_path / "x.index", testset, "--no-dense").status == 0
    found = cli("evaluate", tmp_path / "x.index", testset, "--run", tmp_path / "run.txt")
    assert found.status == 2
    assert "'csv DictReader' is empty or holds white space" in found.err
    assert "nDCG@10" in found.out
    assert not (tmp_path / "run.txt").exists()


def test_ranking_options_are_passed_on(cli, index, testset):
    report = cli("evaluate", index, testset, "--json", "--k1", "0.9", "--b", "0.4", "--where", "year < 2021").json
    assert "0.9" in str(report["options"]["bm25"])
    assert report["measures"]["R@100"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--split", "dev"], "dev"),
        (["--measures", "nDGC@10"], "nDGC@10"),
        (["-k", "5"], "k=5"),
        (["-k", "0"], "k must be at least 1"),
        (["--language", "de"], "de"),
        (["--run", "no/such/folder/run.txt"], "no/such/folder"),
        (["--mode", "dense"], "vectors"),
    ],
)
def test_what_cannot_be_measured_is_one_line(cli, index, testset, arguments, words):
    done = cli("evaluate", index, testset, *arguments)
    assert done.status == 2
    assert words in done.error


def test_a_folder_that_is_no_test_set_is_refused(cli, index, tmp_path):
    for place in (tmp_path / "nothing", tmp_path):
        done = cli("evaluate", index, place)
        assert done.status == 2
        assert str(place) in done.error


@pytest.mark.parametrize("command", [["evaluate"], ["tune", "--stages", "bm25:10"]])
def test_a_measure_that_does_not_exist_is_said_before_anything_is_opened(cli, tmp_path, command):
    done = cli(*command, tmp_path / "no.index", tmp_path / "no-testset", "--measures", "nDGC@10")
    assert done.status == 2
    assert "nDGC@10" in done.error
