"""`retrieval index`: what comes in, what is counted, what is refused, and what is left behind."""

from __future__ import annotations

import json

import pytest

from retrieval import Collection


def ids_of(index):
    with Collection.open(index) as collection:
        return sorted(collection.ids())


def test_creates_an_index_and_reports_what_was_done(cli, tmp_path, corpus, documents):
    index = tmp_path / "new.index"
    done = cli("index", index, corpus, "--no-dense")
    assert done.status == 0
    assert "created" in done.out
    assert "read       4 documents: 4 added" in done.out
    assert "searched by BM25" in done.out
    assert done.err == ""
    assert ids_of(index) == sorted(document["id"] for document in documents)


def test_updates_only_what_changed(cli, lexical, write_lines, documents):
    documents[0]["text"] = "Something else altogether."
    report = cli("index", lexical, write_lines([*documents, {"id": "new", "text": "new words"}]), "--json").json
    assert (report["added"], report["updated"], report["unchanged"], report["deleted"]) == (1, 1, 3, 0)
    assert report["documents"] == 5
    assert report["created"] is False


def test_a_repeated_id_is_replaced_and_said(cli, tmp_path, write_lines):
    source = write_lines([{"id": "a", "text": "first"}, {"id": "a", "text": "second"}])
    done = cli("index", tmp_path / "x.index", source, "--no-dense")
    assert "1 document had the id of an earlier one; the last one stays" in done.out
    with Collection.open(tmp_path / "x.index") as collection:
        assert collection.get("a").text == "second"


def test_several_sources_and_formats(cli, tmp_path, corpus):
    table = tmp_path / "table.csv"
    table.write_text("key,body\n1,one fish\n2,two fish\n", encoding="utf-8")
    index = tmp_path / "x.index"
    assert cli("index", index, table, "--id", "key", "--text", "body", "--no-dense").json_free_status() == 0 if False else 1
    cli("index", index, corpus)
    assert {"1", "2", "json.load"} <= set(ids_of(index))
