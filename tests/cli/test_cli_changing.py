"""`delete`, `compact`, `optimize`, `reencode`, `export`, `info`: what they do, and what they refuse."""

from __future__ import annotations

import json

import pytest

from retrieval import Collection, read_documents


def ids_of(index):
    with Collection.open(index) as collection:
        return set(collection.ids())


def test_delete_by_id(cli, lexical):
    done = cli("delete", lexical, "json.load", "日本 東京")
    assert done.status == 0
    assert done.out.startswith("deleted 2 documents, 2 remain")
    assert ids_of(lexical) == {"csv.DictReader", "line\nend"}


def test_ids_that_are_not_there_are_named_and_a_problem(cli, lexical):
    done = cli("delete", lexical, "json.load", "nobody", "--json")
    assert done.status == 1
    assert done.json["deleted"] == 1
    assert done.json["missing"] == ["nobody"]
    assert "not in the index: 'nobody'" in done.err
    assert "json.load" not in ids_of(lexical)


def test_delete_by_filter(cli, lexical):
    assert cli("delete", lexical, "--where", "year >= 2022", "--json").json["deleted"] == 2
    assert cli("delete", lexical, "--where", "year >= 2022").status == 0


def test_delete_by_a_list_of_ids(cli, lexical, tmp_path):
    listed = tmp_path / "ids.jsonl"
    listed.write_text('"json.load"\n\n{"id": "line\\nend", "text": "ignored"}\n', encoding="utf-8")
    assert cli("delete", lexical, "--ids-from", listed, "csv.DictReader", "--json").json["deleted"] == 3
    assert cli("delete", lexical, "--ids-from", "-", stdin='"日本 東京"\n'.encode()).status == 0
    assert ids_of(lexical) == set()


@pytest.mark.parametrize("line", ["json.load", "[1]", "null", '{"name": "x"}', '"half', "true"])
def test_a_line_that_is_no_id_is_named_and_nothing_is_deleted(cli, lexical, tmp_path, line):
    listed = tmp_path / "ids.jsonl"
    listed.write_text(f'"json.load"\n{line}\n', encoding="utf-8")
    done = cli("delete", lexical, "--ids-from", listed)
    assert done.status == 2
    assert "ids.jsonl:2" in done.error
    assert len(ids_of(lexical)) == 4


def test_a_list_that_is_not_there_is_refused(cli, lexical, tmp_path):
    done = cli("delete", lexical, "--ids-from", tmp_path / "nothing")
    assert done.status == 2
    assert "nothing" in done.error


@pytest.mark.parametrize("arguments", [[], ["json.load", "--where", "year > 1"]])
def test_delete_must_be_told_what(cli, lexical, arguments):
    done = cli("delete", lexical, *arguments)
    assert done.status == 2
    assert "say what to delete" in done.error


def test_an_empty_list_deletes_nothing(cli, lexical):
    done = cli("delete", lexical, "--ids-from", "-")
    assert done.status == 0
    assert len(ids_of(lexical)) == 4


def test_compact_merges_segments_and_keeps_the_documents(cli, lexical, write_lines):
    cli("index", lexical, write_lines([{"id": "more", "text": "more words"}]))
    cli("delete", lexical, "json.load")
    before = ids_of(lexical)
    report = cli("compact", lexical, "--json").json
    assert report["after"] == {"segments": 1, "documents": 4, "deleted": 0, "bytes": report["after"]["bytes"]}
    assert ids_of(lexical) == before
    assert "became 1" in cli("compact", lexical).out


def test_export_writes_what_index_reads(cli, lexical, tmp_path):
    assert cli("export", lexical, tmp_path / "out.jsonl").out.startswith("wrote 4 documents")
    with Collection.open(lexical) as collection:
        assert list(read_documents(tmp_path / "out.jsonl")) == list(collection)
    report = cli("index", lexical, tmp_path / "out.jsonl", "--sync", "--json").json
    assert (report["unchanged"], report["deleted"]) == (4, 0)


@pytest.mark.parametrize("name", ["out.txt", "missing-folder/out.jsonl"])
def test_export_refuses_where_it_cannot_write(cli, lexical, tmp_path, name):
    done = cli("export", lexical, tmp_path / name)
    assert done.status in (1, 2)
    assert done.error


def test_export_of_vectors_that_are_not_there_is_refused(cli, lexical, tmp_path):
    done = cli("export", lexical, tmp_path / "out.parquet", "--vectors")
    assert done.status == 2
    assert "no vectors" in done.error


def test_optimize_and_reencode_need_something_to_work_with(cli, lexical):
    assert "no vectors" in cli("optimize", lexical).error
    refused = cli("reencode", lexical, "no-such/model")
    assert refused.status == 2
    assert "no-such/model" in refused.error


def test_info_for_people_and_machines(cli, lexical):
    stats = cli("info", lexical, "--json").json
    assert stats["documents"] == 4
    assert stats["encoder"] is None
    out = cli("info", lexical).out
    assert "documents  4" in out
    assert "language english" in out
    assert "searched by BM25" in out


@pytest.mark.slow
def test_reencode_adds_vectors_to_a_lexical_index(cli, lexical):
    assert cli("reencode", lexical).out.endswith("\n")
    assert cli("search", lexical, "csv", "--json").json["mode"] == "hybrid"
    info = cli("info", lexical).out
    assert "embedded, 384 dimensions, cosine" in info
    assert json.loads(cli("optimize", lexical, "int8", "--json").out)["searcher"]["covered"] == 4
