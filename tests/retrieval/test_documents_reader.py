"""Sources of documents: recognition, forcing, objects, reports, passes."""

from __future__ import annotations

import gzip
import json
import sys

import ir_datasets
import pytest
from ir_datasets.datasets.base import Dataset
from ir_datasets.formats import BaseDocs, GenericDoc

from retrieval.documents import FORMATS, Document, read_documents
from retrieval.errors import DocumentError, MissingExtraError

LINE = '{"_id": "a", "title": "t", "text": "x", "metadata": {}}\n'
DOCUMENT = Document("a", "x", "t")


class TestRecognition:
    @pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.JSONL", "x.ndjson", "x.json", "corpus", "x.data.gz"])
    def test_json_lines_by_name_or_content(self, tmp_path, name):
        path = tmp_path / name
        path.write_bytes(gzip.compress(LINE.encode()) if name.endswith("gz") else LINE.encode())
        assert list(read_documents(path)) == [DOCUMENT]
        assert list(read_documents(str(path))) == [DOCUMENT]

    @pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz"])
    def test_a_folder_with_a_corpus_is_a_beir_folder(self, tmp_path, name):
        (tmp_path / "README.md").write_text("# no document")
        (tmp_path / name).write_bytes(gzip.compress(LINE.encode()) if name.endswith("gz") else LINE.encode())
        assert list(read_documents(tmp_path)) == [DOCUMENT]
        assert [document.id for document in read_documents(tmp_path, format="folder")] == ["README.md"]

    def test_a_format_can_be_forced(self, tmp_path):
        path = tmp_path / "table.txt"
        path.write_text("id,text\n1,x\n")
        assert list(read_documents(path, format="csv")) == [Document("1", "x")]
        with pytest.raises(DocumentError, match="no BEIR folder"):
            list(read_documents(tmp_path, format="beir"))
        with pytest.raises(DocumentError, match="is no folder"):
            list(read_documents(path, format="folder"))
        with pytest.raises(DocumentError, match="is a folder"):
            list(read_documents(tmp_path, format="markdown"))
        with pytest.raises(DocumentError, match="holds no collection"):
            list(read_documents(tmp_path, format="msmarco"))

    def test_unknown_formats_list_the_known_ones(self, tmp_path):
        (tmp_path / "x.bin").write_bytes(b"\x00\x01")
        with pytest.raises(DocumentError, match=r"x\.bin is not recognised; name one of folder, beir, jsonl"):
            read_documents(tmp_path / "x.bin")
        with pytest.raises(DocumentError, match="unknown format 'xml'") as caught:
            read_documents(tmp_path, format="xml")
        assert all(name in str(caught.value) for name in FORMATS)

    def test_a_json_array_gets_advice(self, tmp_path):
        (tmp_path / "x.json").write_text(f"[{LINE}]")
        with pytest.raises(DocumentError, match="one JSON array"):
            read_documents(tmp_path / "x.json")

    @pytest.mark.parametrize("name", ["nothing.jsonl", "nul\0.jsonl", "file/below"])
    def test_missing_files_are_named_at_once(self, tmp_path, name):
        (tmp_path / "file").write_text("")
        for source in (tmp_path / name, [tmp_path / name]):
            with pytest.raises(DocumentError, match="no such file or folder: "):
                read_documents(source)
        with pytest.raises(DocumentError, match="no such file or folder: "):
            read_documents(tmp_path / name, format="jsonl")

    def test_a_text_is_no_path(self):
        with pytest.raises(DocumentError, match="cannot read text text"):
            read_documents("text " * 1000)

    def test_sources_of_other_types_are_refused(self):
        with pytest.raises(DocumentError, match="cannot read documents from 5"):
            read_documents(5)
        with pytest.raises(DocumentError, match="cannot read documents from b'corpus'"):
            read_documents(b"corpus")


class TestObjects:
    def test_documents_mappings_and_paths_mix(self, tmp_path):
        (tmp_path / "c.jsonl").write_text(LINE)
        source = [Document("1", "x"), {"docno": 2, "contents": "y", "year": 2020}, tmp_path / "c.jsonl"]
        expected = [Document("1", "x"), Document("2", "y", "", {"year": 2020}), DOCUMENT]
        reader = read_documents(source)
        assert list(reader) == expected
        assert list(reader) == expected
        assert reader.report.read == 3
        assert list(read_documents(expected[1])) == [expected[1]]
        assert list(read_documents({"id": "2", "text": "y", "year": 2020})) == [expected[1]]

    def test_unusable_objects_are_counted(self):
        reader = read_documents([Document("1", " "), {"text": "x"}, 5, None, {"id": "2", "text": "y"}])
        assert [document.id for document in reader] == ["2"]
        assert reader.report.skipped == {"empty text": 1, "no id column": 1, "not an object": 2}
        assert reader.report.examples["no id column"][0].startswith("document:2: ")
        with pytest.raises(DocumentError, match="document 1: empty text"):
            list(read_documents([Document("1", "")], strict=True))

    def test_an_iterator_is_read_once_and_as_a_stream(self):
        def endless():
            number = 0
            while True:
                number += 1
                yield Document(str(number), "x")

        reader = read_documents(endless())
        assert next(iter(reader)).id == "1"
        with pytest.raises(DocumentError, match="has been read"):
            next(iter(reader))

    def test_paths_from_an_iterator(self, tmp_path):
        for name in ("a", "b"):
            (tmp_path / f"{name}.jsonl").write_text(LINE)
        assert list(read_documents(tmp_path.glob("*.jsonl"))) == [DOCUMENT, DOCUMENT]


class TestReport:
    def test_each_pass_starts_anew(self, tmp_path):
        path = tmp_path / "c.jsonl"
        path.write_text(LINE + "broken\n" + LINE)
        reader = read_documents(path)
        for _ in range(2):
            assert len(list(reader)) == 2
            assert (reader.report.read, reader.report.n_skipped) == (2, 1)

    def test_the_summary_is_one_line(self, tmp_path):
        path = tmp_path / "c.jsonl"
        path.write_text(LINE * 1200 + "broken\n" * 5 + '{"id": "b", "text": ""}\n')
        reader = read_documents(path)
        list(reader)
        assert reader.report.summary() == (
            f"read 1,200 documents; skipped 6: invalid JSON 5 (first {path}:1201), empty text 1 (first {path}:1206)"
        )
        assert len(reader.report.examples["invalid JSON"]) == 3


class Docs(BaseDocs):
    def docs_iter(self):
        yield GenericDoc("d1", "text one")
        yield GenericDoc("d2", "")
        yield GenericDoc("d3", "text three")

    def docs_cls(self):
        return GenericDoc

    def docs_count(self):
        return 3


class FailingDocs(Docs):
    def docs_iter(self):
        yield GenericDoc("d1", "text one")
        raise OSError("the download\nfailed")


class TestIrDatasets:
    @pytest.fixture(autouse=True)
    def registered(self):
        for name, docs in (("retrieval-tests-small", Docs), ("retrieval-tests-failing", FailingDocs)):
            if name not in ir_datasets.registry:
                ir_datasets.registry.register(name, Dataset(docs()))

    def test_a_data_set_is_read_by_its_id(self):
        expected = [Document("d1", "text one"), Document("d3", "text three")]
        reader = read_documents("ir_datasets:retrieval-tests-small")
        assert list(reader) == expected
        assert reader.report.skipped == {"empty text": 1}
        assert list(read_documents("retrieval-tests-small", format="ir_datasets")) == expected

    def test_failures_are_one_line(self):
        with pytest.raises(DocumentError, match="no such data set in ir_datasets: 'nothing'"):
            read_documents("ir_datasets:nothing")
        with pytest.raises(DocumentError, match=r"cannot provide .*: the download failed"):
            list(read_documents("ir_datasets:retrieval-tests-failing"))

    def test_the_package_is_optional(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ir_datasets", None)
        with pytest.raises(MissingExtraError, match=r"retrieval-engine\[ir-datasets\]"):
            read_documents("ir_datasets:msmarco-passage")


@pytest.mark.parametrize(
    ("name", "count", "empty"),
    [("scifact", 5183, 0), ("nfcorpus", 3633, 0), ("cranfield", 1400, 2), ("vaswani", 11_429, 0)],
)
def test_real_collections_have_their_published_sizes(data_folder, name, count, empty):
    reader = read_documents(data_folder(name))
    ids = {document.id for document in reader}
    assert len(ids) == reader.report.read == count - empty
    assert reader.report.skipped == ({"empty text": empty} if empty else {})


@pytest.mark.slow
def test_the_largest_collection_streams(data_folder):
    reader = read_documents(data_folder("wordnet-senses") / "corpus.jsonl.gz")
    assert sum(1 for _ in reader) == 117_659


def test_fields_agree_with_the_json_module(data_folder):
    with gzip.open(data_folder("cranfield") / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    expected = [(row["_id"], row["title"], row["text"]) for row in rows if row["title"].strip() or row["text"].strip()]
    found = read_documents(data_folder("cranfield"))
    assert [(document.id, document.title, document.text) for document in found] == expected
