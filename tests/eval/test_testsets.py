"""Test sets and judgements: both layouts, what is wrong is named, and the real sets are read whole."""

from __future__ import annotations

import gzip
import json
import sys

import pytest

from eval.errors import TestSetError
from eval.qrels import read_qrels
from eval.tasks import Surroundings, System, load_task
from eval.testsets import find_testset, read_queries, read_testset
from retrieval.errors import MissingExtraError


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


@pytest.fixture
def beir(tmp_path):
    rows = [{"_id": f"d{i}", "title": "", "text": f"text {i}"} for i in range(3)]
    write(tmp_path / "corpus.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    queries = [{"_id": "q1", "text": "one"}, {"_id": "q2", "text": "two"}, {"_id": "q3", "text": "unjudged"}]
    write(tmp_path / "queries.jsonl.gz", "".join(json.dumps(row) + "\n" for row in queries))
    write(tmp_path / "qrels" / "test.tsv", "query-id\tcorpus-id\tscore\nq2\td1\t2\nq1\td0\t1\nq1\td2\t0\nq9\td2\t1\n")
    write(tmp_path / "qrels" / "dev.tsv.gz", "query-id\tcorpus-id\tscore\nq1\td0\t1\n")
    return tmp_path


def test_beir(beir):
    testset = read_testset(beir)
    assert (testset.name, testset.split, testset.language) == (beir.name, "test", None)
    assert testset.queries == {"q2": "two", "q1": "one"}
    assert testset.qrels == {"q2": {"d1": 2}, "q1": {"d0": 1, "d2": 0}, "q9": {"d2": 1}}
    assert testset.queries_without_text == ("q9",)
    assert testset.corpus is not None
    assert [document.id for document in testset.corpus] == [document.id for document in testset.corpus]
    assert [document.text for document in testset.corpus] == ["text 0", "text 1", "text 2"]
    assert read_testset(beir, split="dev").qrels == {"q1": {"d0": 1}}


def test_msmarco(tmp_path):
    write(tmp_path / "collection.tsv", "0\tfirst passage\n1\tsecond passage\n")
    write(tmp_path / "queries.dev.tsv", "7\twhat is first\n8\ta query\twith a tab\n")
    write(tmp_path / "qrels.dev.tsv.gz", "7\t0\t0\t1\n8\t0\t1\t1\n")
    testset = read_testset(tmp_path)
    assert testset.split == "dev"  # the only one
    assert testset.queries == {"7": "what is first", "8": "a query\twith a tab"}
    assert testset.qrels == {"7": {"0": 1}, "8": {"1": 1}}
    assert testset.corpus is not None
    assert [(document.id, document.text) for document in testset.corpus] == [
        ("0", "first passage"),
        ("1", "second passage"),
    ]


def test_msmarco_without_a_split(tmp_path):
    write(tmp_path / "queries.tsv", "7\twhat\n")
    write(tmp_path / "qrels.tsv", "7\t0\tp\t3\n")
    testset = read_testset(tmp_path)
    assert (testset.split, testset.qrels, testset.corpus) == ("all", {"7": {"p": 3}}, None)
    with pytest.raises(TestSetError, match="no judgements for split 'dev'; name one of all"):
        read_testset(tmp_path, split="dev")


def test_languages(tmp_path):
    write(tmp_path / "qrels" / "test.tsv", "q\td\t1\n")
    for language, text in (("de", "Frage"), ("th", "คำถาม")):
        write(tmp_path / f"queries.{language}.jsonl", json.dumps({"_id": "q", "text": text}))
        write(tmp_path / f"corpus.{language}.jsonl.gz", json.dumps({"_id": "d", "text": text * 2}))
    testset = read_testset(tmp_path, language="th")
    assert testset.queries == {"q": "คำถาม"}
    assert testset.corpus is not None
    assert [document.text for document in testset.corpus] == ["คำถามคำถาม"]
    with pytest.raises(TestSetError, match="several languages; name one of de, th"):
        read_testset(tmp_path)
    with pytest.raises(TestSetError, match="no queries in language 'fr'; it has de, th"):
        read_testset(tmp_path, language="fr")


def test_what_is_missing_is_named_with_what_is_there(beir, tmp_path):
    with pytest.raises(TestSetError, match=r"no judgements for split 'train'; name one of dev, test"):
        read_testset(beir, split="train")
    with pytest.raises(TestSetError, match="no folder"):
        read_testset(beir / "nowhere")
    with pytest.raises(TestSetError, match="not divided by language"):
        read_testset(beir, language="de")
    (beir / "qrels" / "test.tsv").rename(beir / "qrels" / "train.tsv")
    with pytest.raises(TestSetError, match="for a split 'test'; name one of dev, train"):
        read_testset(beir)
    (beir / "queries.jsonl.gz").unlink()
    with pytest.raises(TestSetError, match=r"no queries.jsonl"):
        read_testset(beir, split="dev")
    write(tmp_path / "other" / "notes.txt", "nothing")
    with pytest.raises(TestSetError, match="no judgements in"):
        read_testset(tmp_path / "other")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("query-id\tcorpus-id\tscore\nq\td\t1\n", {"q": {"d": 1}}),
        ("q\td\t1\nq\td\t1\n", {"q": {"d": 1}}),  # said twice
        ("q 0 d 2\nq 0 e -1\n\n", {"q": {"d": 2, "e": -1}}),
        ("a query\t0\ta document\t1.0\r\n", {"a query": {"a document": 1}}),
        ("q a\u3000b 2\nq 0 c\u00a0d 1\n", {"q": {"a\u3000b": 2, "c\u00a0d": 1}}),  # spaces, but not of ASCII
        ("\ufeffqid\titer\tdocid\trel\nq\t0\td\t1\n", {"q": {"d": 1}}),
    ],
)
def test_formats_of_judgements(tmp_path, text, expected):
    write(tmp_path / "qrels.txt", text)
    assert read_qrels(tmp_path / "qrels.txt") == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("q\td\t1\nq\td\n", "qrels.txt:2: 2 columns"),
        ("q\td\t1\nq\te\tgood\n", "qrels.txt:2: the grade 'good'"),
        ("q\td\tgood\n", "qrels.txt:1: the grade 'good'"),
        ("q\td\t0.5\n", "the grade '0.5' is not a whole number"),
        ("q\td\tnan\n", "the grade 'nan'"),
        ("q\td\t1\nq\td\t2\n", "qrels.txt:2: document 'd' has grade 2 for query 'q', but 1"),
        ("\td\t1\n", "empty"),
        ("", "no judgements"),
        ("query-id\tcorpus-id\tscore\n", "no judgements"),
    ],
)
def test_bad_judgements_are_named(tmp_path, text, words):
    write(tmp_path / "qrels.txt", text)
    with pytest.raises(TestSetError, match=words):
        read_qrels(tmp_path / "qrels.txt")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("queries.jsonl", '{"_id": "q", "text": "t"}\n{"_id": "q"', "queries.jsonl:2: not a query"),
        ("queries.jsonl", '{"_id": "q"}', "queries.jsonl:1: not a query"),
        ("queries.jsonl", '["q", "t"]', "not a query"),
        ("queries.jsonl", '{"_id": true, "text": "t"}', "not a query"),
        ("queries.jsonl", '{"_id": 1, "text": "t"}\n{"_id": 1, "text": "u"}', "queries.jsonl:2: query '1' had another"),
        ("queries.tsv", "1\ta\n2 b\n", "queries.tsv:2: not a query"),
    ],
)
def test_bad_queries_are_named(tmp_path, name, text, words):
    write(tmp_path / name, text)
    with pytest.raises(TestSetError, match=words):
        read_queries(tmp_path / name)


def test_bad_bytes(tmp_path):
    (tmp_path / "queries.tsv").write_bytes(b"1\tfine\n2\t\xff\n")
    with pytest.raises(TestSetError, match=r"queries\.tsv:2: not UTF-8"):
        read_queries(tmp_path / "queries.tsv")
    (tmp_path / "queries.tsv.gz").write_bytes(gzip.compress(b"1\tfine\n")[:-6])
    with pytest.raises(TestSetError, match="damaged file"):
        read_queries(tmp_path / "queries.tsv.gz")
    with pytest.raises(TestSetError, match="cannot read"):
        read_queries(tmp_path / "none.tsv")


REAL = [
    ("scifact", "test", None, 300, 339, 5183),
    ("nfcorpus", "dev", None, 324, 11385, 3633),
    ("cranfield", "test", None, 225, 1837, None),
    ("xquad", "test", "zh", 1190, 1190, 240),
    ("qa-train-msmarco-format", "dev", None, 1314, 1395, 23083),
    ("msmarco-dl19/msmarco_format", None, None, 43, 9260, 14581),
]


@pytest.mark.parametrize(("folder", "split", "language", "n_queries", "n_qrels", "n_documents"), REAL)
def test_real_sets_are_read_whole(data, folder, split, language, n_queries, n_qrels, n_documents):
    testset = read_testset(data / folder, split=split, language=language)
    assert len(testset.queries) == n_queries
    assert sum(map(len, testset.qrels.values())) == n_qrels
    assert testset.queries_without_text == ()
    assert testset.corpus is not None
    if n_documents is not None:
        ids = [document.id for document in testset.corpus]
        assert len(ids) == len(set(ids)) == n_documents
        assert {document_id for grades in testset.qrels.values() for document_id in grades} & set(ids)


def test_a_deeply_nested_query_is_refused(tmp_path):
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": ' + "[" * 100_000)
    with pytest.raises(TestSetError, match=r"queries\.jsonl:1: not a query"):
        read_queries(tmp_path / "queries.jsonl")


def test_long_grades_are_read_exactly(tmp_path):
    (tmp_path / "qrels").write_text("q 0 d 9007199254740993\nq 0 e 2.0\n")
    assert read_qrels(tmp_path / "qrels") == {"q": {"d": 9007199254740993, "e": 2}}


def test_files_are_told_and_have_to_belong_together(beir):
    files = find_testset(beir)
    assert [path.name for path in files] == ["test.tsv", "queries.jsonl.gz", "corpus.jsonl"]
    assert read_testset(beir).files == files
    write(beir / "qrels" / "test.tsv", "other\td1\t1\n")
    with pytest.raises(TestSetError, match=r"none of the 1 judged queries .*'other'.* is among the 3 queries"):
        read_testset(beir)


class TestIrDatasets:
    """A tiny data set, registered for these tests; nothing is downloaded."""

    @pytest.fixture(autouse=True)
    def registered(self):
        ir_datasets = pytest.importorskip("ir_datasets")
        from ir_datasets.datasets.base import Dataset
        from ir_datasets.formats import BaseDocs, BaseQrels, BaseQueries, GenericDoc, GenericQuery, TrecQrel

        class Docs(BaseDocs):
            def docs_iter(self):
                yield GenericDoc("d1", "text one")
                yield GenericDoc("文", "text two")

            def docs_cls(self):
                return GenericDoc

        class Queries(BaseQueries):
            def queries_iter(self):
                yield GenericQuery("q1", "one")
                yield GenericQuery("unjudged", "three")

            def queries_cls(self):
                return GenericQuery

        class Qrels(BaseQrels):
            grades = (("q1", "文", 2), ("q1", "d1", 0), ("q2", "d1", 1))

            def qrels_iter(self):
                return (TrecQrel(query, document, grade, "0") for query, document, grade in self.grades)

            def qrels_cls(self):
                return TrecQrel

        class Contradicting(Qrels):
            grades = (("q1", "d1", 1), ("q1", "d1", 2))

        class Empty(Qrels):
            grades = ()

        class Failing(Qrels):
            def qrels_iter(self):
                raise OSError("the download\nfailed")

        for name, parts in {
            "toy/dev": (Docs(), Queries(), Qrels()),
            "docs": (Docs(),),
            "contradicting": (Queries(), Contradicting()),
            "empty": (Queries(), Empty()),
            "failing": (Queries(), Failing()),
        }.items():
            if f"retrieval-testsets-{name}" not in ir_datasets.registry:
                ir_datasets.registry.register(f"retrieval-testsets-{name}", Dataset(*parts))

    def test_a_data_set_is_a_test_set(self, tmp_path):
        testset = read_testset("ir_datasets:retrieval-testsets-toy/dev")
        assert (testset.name, testset.split) == ("retrieval-testsets-toy/dev", "dev")
        assert testset.qrels == {"q1": {"文": 2, "d1": 0}, "q2": {"d1": 1}}
        assert testset.queries == {"q1": "one"}
        assert testset.queries_without_text == ("q2",)
        assert [document.id for document in testset.corpus] == ["d1", "文"]
        definition = 'name = "Toy"\nkind = "Retrieval"\nfolder = "ir_datasets:retrieval-testsets-toy/dev"'
        (tmp_path / "task.toml").write_text(definition)
        (task,) = load_task(tmp_path / "task.toml")
        result = task.run(System("BM25"), Surroundings(workspace=tmp_path / "work"))
        assert (result.n_items, result.counts["queries without text"]) == (2, 1)
        assert result.settings["split"] == "dev"

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("nothing", "no such data set in ir_datasets: 'nothing'"),
            ("retrieval-testsets-docs", "has no queries; name one of its splits"),
            ("retrieval-testsets-contradicting", "grades document 'd1' for query 'q1' twice, 1 and 2"),
            ("retrieval-testsets-empty", "holds no judgements"),
            ("retrieval-testsets-failing", "cannot provide the judgements of .*: the download failed"),
        ],
    )
    def test_faults_are_one_line(self, name, words):
        with pytest.raises(TestSetError, match=words) as caught:
            read_testset(f"ir_datasets:{name}")
        assert "\n" not in str(caught.value)

    def test_the_name_says_split_and_language(self):
        with pytest.raises(TestSetError, match="leave 'test' out"):
            read_testset("ir_datasets:retrieval-testsets-toy/dev", "test")

    def test_the_package_is_optional(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ir_datasets", None)
        with pytest.raises(MissingExtraError, match="ir-datasets"):
            read_testset("ir_datasets:retrieval-testsets-toy/dev")
