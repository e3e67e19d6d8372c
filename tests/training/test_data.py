"""Readers of training examples: formats, layouts, and rows that cannot be used."""

from __future__ import annotations

import csv
import gzip
import json
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from retrieval import FunctionEncoder
from retrieval.errors import DocumentError, TrainingDataError
from retrieval.training import Recipe
from retrieval.training.data import ExampleReport, Source, read_source
from retrieval.training.data.arrow_file import store_examples, stored_examples
from retrieval.training.data.mined import mined_tuples
from retrieval.training.data.text_store import TextStore


def read(path, kind: str, split: str | None = None, report: ExampleReport | None = None, **settings):
    recipe = Recipe(name="x", data=kind, **settings)
    return list(read_source(Source(Path(path), split), recipe, report or ExampleReport()))


@pytest.fixture
def file(tmp_path):
    def write(name: str, text: str):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = text.encode()
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


class TestFiles:
    @pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz", ".csv", ".jsonl", ".jsonl.gz", ".parquet"])
    def test_the_same_pairs_in_every_format(self, tmp_path, suffix):
        rows = [{"Query": "what, is it", "Passage": 'a "thing"'}, {"Query": "where", "Passage": "日本"}]
        path = tmp_path / f"pairs{suffix}"
        if suffix == ".parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        else:
            with (gzip.open if suffix.endswith(".gz") else open)(path, "wt", encoding="utf-8", newline="") as stream:
                if ".jsonl" in suffix:
                    stream.writelines(json.dumps(row) + "\n" for row in rows)
                elif suffix == ".csv":
                    writer = csv.DictWriter(stream, ["Query", "Passage"])
                    writer.writeheader()
                    writer.writerows(rows)
                else:
                    stream.writelines(["Query\tPassage\n", *(f"{row['Query']}\t{row['Passage']}\n" for row in rows)])
        expected = [{"query": row["Query"], "positive": row["Passage"]} for row in rows]
        assert read(path, "pairs") == expected

    def test_sentences_of_a_text_file_without_repetitions(self, file):
        report = ExampleReport()
        path = file("a.txt", "one\n\ntwo\none\n  three  \n")
        assert read(path, "sentences", report=report) == [{"text": text} for text in ("one", "two", "three")]
        assert report.read == 3
        assert report.noted == {"repeated sentence left out": 1}

    def test_both_sentences_of_pairs_are_sentences(self, file):
        path = file("a.tsv", "score\tsentence1\tsentence2\n5\tone\ttwo\n1\tone\tthree\n")
        assert [row["text"] for row in read(path, "sentences")] == ["one", "two", "three"]

    def test_negatives_as_columns_and_as_lists(self, file):
        columns = file("a.tsv", "query\tpositive\tnegative_1\tnegative_2\tnegative_10\nq\tp\tn1\tn2\tn10\n")
        expected = {"query": "q", "positive": "p", "negative_1": "n1", "negative_2": "n2"}
        assert read(columns, "tuples", negatives=2) == [expected]
        assert read(columns, "tuples", negatives=3) == [{**expected, "negative_3": "n10"}]
        lists = file("b.jsonl", json.dumps({"anchor": "q", "pos": "p", "neg": ["n1", "n2", "n3"]}))
        assert read(lists, "tuples", negatives=2) == [expected]
        triple = file("c.tsv", "anchor\tpositive\tnegative\nq\tp\tn1\n")
        assert read(triple, "tuples") == [{"query": "q", "positive": "p", "negative_1": "n1"}]

    def test_classes_are_numbered_as_they_appear(self, file):
        report = ExampleReport()
        path = file("a.tsv", "label\tpremise\thypothesis\nneutral\ta\tb\n-\ta\tb\nentailment\tc\td\nneutral\te\tf\n")
        assert [row["label"] for row in read(path, "labelled", report=report)] == [0, 1, 0]
        assert report.classes == ["neutral", "entailment"]
        assert report.skipped == {"no label": 1}

    def test_scores_become_zero_to_one(self, file):
        path = file("a.tsv", "score\tsentence1\tsentence2\n5.000\ta\tb\n0\tc\td\n3.5\te\tf\n")
        assert [row["score"] for row in read(path, "scored", score_range=(0, 5))] == [1.0, 0.0, 0.7]
        assert [row["score"] for row in read(path, "scored", score_range=(3, 5))] == [1.0, 0.25]

    def test_instructions_stand_before_queries_alone(self, file):
        path = file("a.tsv", "query\tpositive\nq\tp\n")
        (found,) = read(path, "pairs", instruction="Find it.")
        assert found == {"query": "Instruct: Find it. \n Query: q", "positive": "p"}


class TestBadRows:
    def test_are_counted_with_their_lines(self, file):
        report = ExampleReport()
        path = file("a.tsv", "query\tpositive\nq1\tp1\nq2\n\tp3\nq4\tp4\textra\nq5\tp5\n")
        assert [row["query"] for row in read(path, "pairs", report=report)] == ["q1", "q5"]
        assert report.skipped == {"wrong number of columns": 2, "empty text": 1}
        assert f"{path}:3: wrong number of columns: 1 instead of 2" in report.examples["wrong number of columns"]
        assert f"empty text 1 (first {path}:4)" in report.summary()
        assert report.summary().startswith("read 2 examples; skipped 3: ")

    @pytest.mark.parametrize(
        ("line", "reason"),
        [
            ("{broken", "invalid JSON"),
            ("[1]", "not an object"),
            ('{"query": 3, "positive": "p"}', "not a text"),
            ('{"query": "q"}', "missing column"),
            ('{"query": "q", "positive": " "}', "empty text"),
        ],
    )
    def test_of_json_lines(self, file, line, reason):
        report = ExampleReport()
        good = '{"query": "q", "positive": "p"}'
        path = file("a.jsonl", f"{good}\n{line}\n{good}\n")
        assert len(read(path, "pairs", report=report)) == 2
        assert report.skipped == {reason: 1}
        assert report.examples[reason][0].startswith(f"{path}:2: {reason}")

    @pytest.mark.parametrize(
        ("score", "reason"), [("6", "score out of range"), ("x", "score is no number"), ("nan", "score out of range")]
    )
    def test_scores(self, file, score, reason):
        report = ExampleReport()
        path = file("a.tsv", f"score\tsentence1\tsentence2\n{score}\ta\tb\n1\ta\tb\n")
        assert len(read(path, "scored", score_range=(0, 5), report=report)) == 1
        assert report.skipped == {reason: 1}

    def test_too_few_negatives(self, file):
        report = ExampleReport()
        path = file("a.jsonl", '{"query": "q", "positive": "p", "negatives": ["n"]}\n')
        assert read(path, "tuples", negatives=2, report=report) == []
        assert report.skipped == {"too few negatives": 1}

    def test_of_bytes_that_are_no_text(self, tmp_path):
        report = ExampleReport()
        (tmp_path / "a.txt").write_bytes(b"good\n\xff\xfe\xfa\ngood too\n")
        assert len(read(tmp_path / "a.txt", "sentences", report=report)) == 2
        assert report.skipped == {"invalid UTF-8": 1}

    def test_are_errors_where_wanted(self, file):
        path = file("a.tsv", "query\tpositive\nq\n")
        with pytest.raises(DocumentError, match=r"a\.tsv:2: wrong number of columns"):
            read(path, "pairs", report=ExampleReport(strict=True))

    @pytest.mark.parametrize(
        ("name", "text", "words"),
        [
            ("a.tsv", "score\tsentence1\nx\ty\n", r"a\.tsv:2: no column with a query \(columns: score, sentence1\)"),
            ("a.tsv", "", "is empty; its first line must name the columns"),
            ("a.doc", "x", "unknown format '.doc'"),
            ("a.parquet", "x", "is no readable Parquet file"),
        ],
    )
    def test_files_that_cannot_be_used_at_all(self, file, name, text, words):
        with pytest.raises(TrainingDataError, match=words):
            read(file(name, text), "pairs")

    def test_places_where_nothing_is(self, tmp_path):
        with pytest.raises(TrainingDataError, match="neither a file nor a folder"):
            read(tmp_path / "no", "pairs")
        with pytest.raises(TrainingDataError, match="no training data in"):
            read(tmp_path, "pairs")


@pytest.fixture
def marco(file, tmp_path):
    """A folder in MS MARCO's layout with one passage that is missing."""
    file("m/collection.tsv", "p1\tpassage one\np2\tpassage two\np3\tpassage three\nbroken\n")
    file("m/queries.train.tsv.gz", "q1\tfirst query\nq2\tsecond query\n")
    file("m/qrels.train.tsv", "q1\t0\tp1\t1\nq1\t0\tp2\t0\nq2\t0\tp2\t1\nq2\t0\tp9\t1\n")
    file("m/qrels.dev.tsv", "q1\t0\tp1\t1\n")
    file("m/qidpidtriples.train.tsv", "q1\tp1\tp2\nq2\tp2\tp1\nq1\tp1\tp3\nq1\tp1\tp2\n")
    return tmp_path / "m"


class TestFolders:
    def test_ms_marco_pairs(self, marco):
        report = ExampleReport()
        assert read(marco, "pairs", report=report) == [
            {"query": "first query", "positive": "passage one"},
            {"query": "second query", "positive": "passage two"},
        ]
        assert report.skipped == {"no id or no text": 1, "id without a text": 1}
        assert "qrels.train.tsv:4" in report.examples["id without a text"][0]

    def test_ms_marco_triples_and_tuples(self, marco):
        triples = read(marco, "tuples")
        assert [row["negative_1"] for row in triples] == ["passage two", "passage one", "passage three", "passage two"]
        report = ExampleReport()
        (only,) = read(marco, "tuples", negatives=2, report=report)
        assert (only["negative_1"], only["negative_2"]) == ("passage two", "passage three")
        assert report.skipped["too few negatives"] == 1

    def test_ms_marco_sentences_are_passages(self, marco):
        assert [row["text"] for row in read(marco, "sentences")] == ["passage one", "passage two", "passage three"]

    def test_a_split_that_is_missing_lists_those_there_are(self, marco):
        with pytest.raises(TrainingDataError, match="no judgements for split 'test'; it has dev, train"):
            read(marco, "pairs", split="test")
        with pytest.raises(TrainingDataError, match=r"no queries\.dev\.tsv"):
            read(marco, "pairs", split="dev")

    def test_judgements_are_no_scored_sentences(self, marco):
        with pytest.raises(TrainingDataError, match="judges passages; recipe 'x' needs scored examples"):
            read(marco, "scored")

    def test_beir(self, file, tmp_path):
        file("b/corpus.jsonl", '{"_id": "d1", "title": "Title", "text": "text"}\n{"_id": "d2", "text": "other"}\n')
        file("b/queries.jsonl", '{"_id": "q1", "text": "query"}\n')
        file("b/qrels/train.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n")
        assert read(tmp_path / "b", "pairs") == [{"query": "query", "positive": "Title text"}]
        with pytest.raises(TrainingDataError, match="has no qidpidtriples file"):
            read(tmp_path / "b", "tuples")

    def test_files_named_after_splits(self, file, tmp_path):
        for name, text in {"train": "t", "one.test": "u", "two.test": "v"}.items():
            file(f"s/{name}.tsv", f"text\n{text}\n")
        assert read(tmp_path / "s", "sentences") == [{"text": "t"}]
        assert read(tmp_path / "s", "sentences", split="test") == [{"text": "u"}, {"text": "v"}]
        with pytest.raises(TrainingDataError, match="no files for split 'dev'; it has test, train"):
            read(tmp_path / "s", "sentences", split="dev")


class TestStored:
    def test_sources_stand_one_after_another(self, file, tmp_path):
        first, second = file("a.txt", "one\ntwo\n"), file("b.txt", "three\n")
        recipe = Recipe(name="x", data="sentences")
        stored = store_examples(tmp_path, [Source(first), Source(second), Source(first)], recipe)
        assert stored.counts == [2, 1, 2]
        assert stored.tasks.tolist() == [0, 0, 1, 2, 2]
        assert stored.dataset()["text"][:] == ["one", "two", "three", "one", "two"]
        assert len(set(stored.sources)) == 3
        assert stored_examples(tmp_path) == stored

    def test_a_source_without_any_example(self, file, tmp_path):
        path = file("a.tsv", "query\tpositive\nq\n")
        with pytest.raises(TrainingDataError, match=r"no example of kind pairs in .*wrong number of columns 1"):
            store_examples(tmp_path, [Source(path)], Recipe(name="x"))

    def test_memory_does_not_grow_with_the_file(self, tmp_path):
        path = tmp_path / "large.tsv"
        with path.open("w", encoding="utf-8") as stream:
            stream.write("query\tpositive\n")
            stream.writelines(f"question {number}\t{'words ' * 400}{number}\n" for number in range(20_000))
        assert path.stat().st_size > 45_000_000
        tracemalloc.start()
        try:
            stored = store_examples(tmp_path, [Source(path)], Recipe(name="x"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert stored.counts == [20_000]
        assert peak < 12_000_000

    def test_texts_by_id(self):
        with TextStore([("a", "äöü"), ("b", ""), ("c", "x" * 100_000), ("a", "again")]) as store:
            assert (store["a"], store["b"], len(store["c"]), len(store)) == ("äöü", "", 100_000, 3)
            assert "d" not in store


class TestMined:
    def encoder(self):
        """Words of one letter are counted: texts of the same letters are near each other."""

        def count(texts):
            return np.array([[text.count(letter) + 1e-3 for letter in "abcdefgh"] for text in texts], np.float32)

        return FunctionEncoder(count, "letters", 1)

    def test_wrong_pairs_go_and_negatives_come_from_the_window(self):
        letters = "abcdefgh"
        pairs = [{"query": letter, "positive": letter * 3} for letter in letters]
        pairs[0]["positive"] = "hhhhhg"  # farther from the query "a" than the next two
        pairs[1]["positive"], pairs[2]["positive"] = "bbba", "ccca"
        recipe = Recipe(name="x", data="tuples", negatives=2, filter_rank=1, mine_window=(1, 4))
        report = ExampleReport()
        found = list(mined_tuples(iter(pairs), self.encoder(), recipe, report, "here"))
        assert report.noted == {"pair without ranking consistency left out": 1}
        assert [row["query"] for row in found] == list(letters[1:])
        for row in found:
            assert len({row["positive"], row["negative_1"], row["negative_2"]}) == 3

    def test_all_positives_of_a_query_are_spared(self):
        pairs = [{"query": "a", "positive": text} for text in ("a", "aa b", "aaa b")] + [
            {"query": "b", "positive": text} for text in ("b c", "b d", "b e")
        ]
        recipe = Recipe(name="x", data="tuples", negatives=2, mine_window=(0, 6))
        for row in mined_tuples(iter(pairs), self.encoder(), recipe, ExampleReport(), "here"):
            own = {pair["positive"] for pair in pairs if pair["query"] == row["query"]}
            assert not own & {row["negative_1"], row["negative_2"]}


class TestRealData:
    def test_question_answering_in_ms_marco_format(self, data_folder):
        folder = data_folder("qa-train-msmarco-format")
        report = ExampleReport()
        assert len(read(folder, "pairs", split="dev", report=report)) == 1395
        assert report.n_skipped == 0

    @pytest.mark.slow
    def test_its_triples(self, data_folder):
        folder = data_folder("qa-train-msmarco-format")
        assert len(read(folder, "tuples", negatives=1)) == 88_389
        assert len(read(folder, "tuples", negatives=3)) == 29_463

    def test_labelled_pairs(self, data_folder):
        report = ExampleReport()
        rows = read(data_folder("snli-devtest"), "labelled", split="dev", report=report)
        assert len(rows) == 9842
        assert sorted(report.classes) == ["contradiction", "entailment", "neutral"]
        assert min(Counter(row["label"] for row in rows).values()) > 3000

    def test_scored_pairs(self, data_folder):
        assert [len(read(data_folder("stsb"), "scored", split, score_range=(0, 5))) for split in (None, "dev")] == [
            5749,
            1500,
        ]
        assert len(read(data_folder("sts12-16"), "scored", "test", score_range=(0, 5))) == 12_544

    def test_beir(self, data_folder):
        assert len(read(data_folder("scifact"), "pairs")) == 919
