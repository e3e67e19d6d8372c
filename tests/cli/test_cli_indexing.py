"""`retrieval index`: what comes in, what is counted, what is refused, and what is left behind."""

from __future__ import annotations

import gzip
import json

import numpy as np
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


def test_reads_named_columns_and_compressed_files(cli, tmp_path, documents):
    table = tmp_path / "table.csv"
    table.write_text("key,body,kind\n1,one fish,a\n2,two fish,b\n", encoding="utf-8")
    packed = tmp_path / "corpus.jsonl.gz"
    packed.write_bytes(gzip.compress("\n".join(map(json.dumps, documents)).encode()))
    index = tmp_path / "x.index"
    done = cli(
        "index", index, table, "--id", "key", "--text", "body", "--title", "", "--metadata", "kind", "--no-dense"
    )
    assert done.status == 0
    assert cli("index", index, packed).status == 0
    with Collection.open(index) as collection:
        assert collection.get("2").metadata == {"kind": "b"}
        assert len(collection) == 6


def test_takes_several_sources_at_once(cli, tmp_path, corpus, write_lines):
    other = write_lines([{"id": "other", "text": "more"}], "other.jsonl")
    report = cli("index", tmp_path / "x.index", corpus, other, "--no-dense", "--json").json
    assert report["read"] == report["documents"] == 5


def test_skipped_rows_are_counted_with_examples(cli, tmp_path):
    source = tmp_path / "bad.jsonl"
    source.write_bytes(
        b'{"id": "a", "text": "fine"}\nnot json\n{"id": "b", "text": ""}\n{"text": "no id"}\n{"id": "c", "te'
    )
    index = tmp_path / "x.index"
    done = cli("index", index, source, "--no-dense", "--json")
    assert done.status == 0
    assert done.json["read"] == 1
    assert sum(done.json["skipped"].values()) == 4
    assert any("bad.jsonl:2" in example for examples in done.json["examples"].values() for example in examples)
    assert "skipped" in cli("index", index, source).out


def test_strict_refuses_the_first_bad_row_and_leaves_nothing(cli, tmp_path):
    source = tmp_path / "bad.jsonl"
    source.write_text('{"id": "a", "text": "fine"}\nnot json\n', encoding="utf-8")
    index = tmp_path / "x.index"
    done = cli("index", index, source, "--no-dense", "--strict")
    assert done.status == 2
    assert "bad.jsonl:2" in done.error
    assert not index.exists()


def test_strict_changes_nothing_in_an_index_that_is_there(cli, tmp_path, lexical, documents):
    source = tmp_path / "bad.jsonl"
    source.write_text('{"id": "new", "text": "fine"}\nnot json\n', encoding="utf-8")
    assert cli("index", lexical, source, "--strict").status == 2
    assert ids_of(lexical) == sorted(document["id"] for document in documents)


def test_nothing_usable_is_a_problem(cli, tmp_path, write_lines):
    done = cli("index", tmp_path / "x.index", write_lines([{"id": "a", "text": ""}]), "--no-dense")
    assert done.status == 1
    assert "skipped    1 x empty text" in done.out


def test_an_empty_source_is_none(cli, tmp_path, write_lines):
    done = cli("index", tmp_path / "x.index", write_lines([]), "--no-dense")
    assert done.status == 0
    assert "read       0 documents" in done.out


@pytest.mark.parametrize("source", ["missing.jsonl", "missing-folder/"])
def test_a_missing_source_creates_no_index(cli, tmp_path, source):
    done = cli("index", tmp_path / "x.index", tmp_path / source, "--no-dense")
    assert done.status == 2
    assert "missing" in done.error
    assert not (tmp_path / "x.index").exists()


def test_an_unknown_format_is_refused(cli, tmp_path, corpus):
    done = cli("index", tmp_path / "x.index", corpus, "--format", "xml", "--no-dense")
    assert done.status == 2
    assert "xml" in done.error
    assert "jsonl" in done.error


def test_a_folder_that_is_no_index_is_left_alone(cli, tmp_path, corpus):
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    done = cli("index", tmp_path, corpus, "--no-dense")
    assert done.status == 2
    assert "not empty" in done.error
    assert (tmp_path / "letter.txt").read_text(encoding="utf-8") == "dear"


# --- what an index is, once and for all ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value", "shown"),
    [("--long", "truncate", "chunk"), ("--language", "de", "english"), ("--title-boost", "2", "1.0")],
)
def test_other_settings_than_the_index_has_are_refused(cli, lexical, corpus, option, value, shown):
    done = cli("index", lexical, corpus, option, value)
    assert done.status == 2
    assert option in done.error
    assert shown in done.error


def test_settings_that_the_index_has_are_accepted(cli, tmp_path, corpus):
    index = tmp_path / "x.index"
    options = ["--no-dense", "--language", "german", "--title-boost", "2.5", "--long", "truncate"]
    assert cli("index", index, corpus, *options).status == 0
    assert cli("index", index, corpus, *options[:2], "de", *options[3:]).status == 0
    with Collection.open(index) as collection:
        assert collection.settings.analyser.language == "german"
        assert collection.settings.fields.title_boost == 2.5


def test_contradicting_options_are_refused(cli, tmp_path, corpus):
    done = cli("index", tmp_path / "x.index", corpus, "--no-dense", "--encoder", "embedded")
    assert done.status == 2
    assert "exclude each other" in done.error


def test_an_encoder_for_a_lexical_index_is_refused(cli, lexical, corpus):
    done = cli("index", lexical, corpus, "--encoder", "embedded")
    assert done.status == 2
    assert "is lexical" in done.error


def test_a_model_that_is_not_there_leaves_no_index(cli, tmp_path, corpus):
    done = cli("index", tmp_path / "x.index", corpus, "--encoder", tmp_path / "no-model")
    assert done.status == 2
    assert "no-model" in done.error
    assert not (tmp_path / "x.index").exists()


# --- vectors of one's own -----------------------------------------------------------------------------------------


@pytest.fixture
def with_vectors(tmp_path):
    """A Parquet file with a column of vectors."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    vectors = np.eye(3, 4, dtype=np.float32)
    table = pa.table({"id": ["a", "b", "c"], "text": ["one", "two", "three"], "vector": list(vectors)})
    pq.write_table(table, tmp_path / "vectors.parquet")
    return tmp_path / "vectors.parquet"


def test_a_column_of_vectors_makes_a_dense_index(cli, tmp_path, with_vectors):
    index = tmp_path / "x.index"
    assert cli("index", index, with_vectors, "--vectors", "vector").status == 0
    with Collection.open(index) as collection:
        assert collection.search(vector=np.array([0, 1, 0, 0]), k=1).ids == ["b"]
    assert cli("search", index, "three", "--mode", "bm25", "--json").json["hits"][0]["id"] == "c"
    done = cli("search", index, "three")
    assert done.status == 2
    assert "given by" in done.error


def test_a_vector_column_that_is_not_there_is_refused(cli, tmp_path, with_vectors):
    done = cli("index", tmp_path / "x.index", with_vectors, "--vectors", "embedding")
    assert done.status == 2
    assert "embedding" in done.error


# --- sync ---------------------------------------------------------------------------------------------------------


def test_sync_deletes_what_vanished(cli, lexical, write_lines, documents):
    report = cli("index", lexical, write_lines(documents[1:]), "--sync", "--json").json
    assert report["deleted"] == 1
    assert ids_of(lexical) == sorted(document["id"] for document in documents[1:])


def test_without_sync_nothing_is_deleted(cli, lexical, write_lines, documents):
    cli("index", lexical, write_lines(documents[1:]))
    assert len(ids_of(lexical)) == len(documents)


def test_sync_takes_all_sources_together(cli, lexical, write_lines, documents):
    halves = [write_lines(documents[:2], "a.jsonl"), write_lines(documents[2:], "b.jsonl")]
    assert cli("index", lexical, *halves, "--sync", "--json").json["deleted"] == 0


def test_sync_refuses_a_source_that_was_read_in_part(cli, lexical, tmp_path, documents):
    source = tmp_path / "partly.jsonl"
    source.write_text(json.dumps(documents[0]) + "\nnot json\n", encoding="utf-8")
    done = cli("index", lexical, source, "--sync")
    assert done.status == 2
    assert "--allow-skipped" in done.error
    assert "partly.jsonl:2" in done.error
    assert len(ids_of(lexical)) == len(documents)
    assert cli("index", lexical, source, "--sync", "--allow-skipped", "--json").json["deleted"] == 3


def test_sync_deletes_a_document_that_became_empty(cli, lexical, write_lines, documents):
    documents[0] |= {"title": "", "text": " "}
    assert cli("index", lexical, write_lines(documents), "--sync", "--json").json["deleted"] == 1
    assert documents[0]["id"] not in ids_of(lexical)


def test_sync_refuses_a_source_without_documents(cli, lexical, write_lines, documents):
    done = cli("index", lexical, write_lines([]), "--sync", "--allow-skipped")
    assert done.status == 2
    assert "would delete all 4 documents" in done.error
    assert len(ids_of(lexical)) == len(documents)


@pytest.mark.slow
def test_the_embedded_encoder_is_the_default(cli, tmp_path, corpus):
    index = tmp_path / "dense.index"
    report = cli("index", index, corpus, "--json").json
    assert report["encoder"] == "embedded"
    assert report["passages"] == report["passages_encoded"] == 4
    again = cli("index", index, corpus, "--json").json
    assert (again["unchanged"], again["passages_encoded"]) == (4, 0)
    refused = cli("index", index, corpus, "--no-dense")
    assert refused.status == 2
    assert "has vectors" in refused.error
    found = cli("search", index, "comma separated values to mappings", "--json", "--explain").json
    assert found["mode"] == "hybrid"
    assert found["hits"][0]["id"] == "csv.DictReader"
    assert found["hits"][0]["explanation"]["passage"]["text"].startswith("Dictionaries from CSV Read")
    assert cli("optimize", index, "hnsw").status == 0
    assert "hnsw" in cli("info", index).out
    nearest = cli("similar", index, "csv.DictReader", "-k", "1", "--json").json
    assert (nearest["mode"], nearest["hits"][0]["id"]) == ("dense", "json.load")
