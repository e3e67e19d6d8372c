"""Examples with a teacher's scores: every form that they come in, and what is wrong with some."""

from __future__ import annotations

import gzip
import json
import tracemalloc

import pytest

from retrieval.errors import DocumentError, TrainingDataError
from retrieval.training import Recipe
from retrieval.training.data import ExampleReport, Source, read_source
from retrieval.training.data.arrow_file import store_examples

COLLECTION = "p1\tpassage one\np2\tpassage two\np3\tpassage three\n"
QUERIES = "q1\tfirst query\nq2\tsecond query\n"
LINES = "5.5\t1.25\tq1\tp1\tp2\n2.0\t3.0\tq2\tp3\tp1\n5.5\t0.5\tq1\tp1\tp3\n"


def read(path, report: ExampleReport | None = None, split: str | None = None, **settings):
    recipe = Recipe(name="x", data="scored_tuples", **settings)
    return list(read_source(Source(path, split), recipe, report or ExampleReport()))


def expected(*scores: float, **negatives: str):
    return {"query": "q", "positive": "p", **(negatives or {"negative_1": "n1"}), "scores": list(scores)}


@pytest.fixture
def file(tmp_path):
    def write(name: str, text: str):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return write


@pytest.fixture
def marco(file, tmp_path):
    file("m/collection.tsv.gz", COLLECTION)
    file("m/queries.train.tsv", QUERIES)
    file("m/qrels.train.tsv", "q1\t0\tp1\t1\n")
    file("m/qidpidtriples.train.tsv", "q1\tp1\tp2\n")
    file("m/teacher.tsv", LINES)
    return tmp_path / "m"


class TestRows:
    @pytest.mark.parametrize(
        "values",
        [
            {"scores": [2.5, -1]},
            {"label": [2.5, -1.0]},
            {"labels": "[2.5, -1.0]"},
            {"pos_score": 2.5, "neg_score": "-1"},
            {"s_pos": "2.5", "s_neg": -1.0},
        ],
    )
    def test_scores_of_two_passages(self, file, values):
        path = file("a.jsonl", json.dumps({"query": "q", "positive": "p", "negative": "n1", **values}))
        report = ExampleReport()
        assert read(path, report) == [expected(2.5, -1)]
        assert not report.noted

    @pytest.mark.parametrize("label", [3.5, "3.5", [3.5]])
    def test_a_margin_alone(self, file, label):
        path = file("a.jsonl", json.dumps({"anchor": "q", "positive": "p", "negative": "n1", "label": label}))
        report = ExampleReport()
        assert read(path, report) == [expected(3.5, 0)]
        assert report.noted == {"margin without scores": 1}

    def test_margins_of_several_negatives(self, file):
        row = {"query": "q", "positive": "p", "negative_1": "n1", "negative_2": "n2", "label": [3.0, 5.0]}
        (found,) = read(file("a.jsonl", json.dumps(row)), negatives=2)
        positive, *negatives = found["scores"]
        assert [positive - score for score in negatives] == [3.0, 5.0]
        assert negatives[0] == 0

    def test_negatives_that_are_left_out_take_their_scores_with_them(self, file):
        row = {"query": "q", "pos": "p", "negatives": ["n1", "n2", "n3"], "scores": [4, 3, 2, 1]}
        assert read(file("a.jsonl", json.dumps(row))) == [expected(4, 3)]
        assert read(file("a.jsonl", json.dumps(row)), negatives=2) == [
            expected(4, 3, 2, negative_1="n1", negative_2="n2")
        ]

    def test_separated_values_and_parquet(self, file, tmp_path):
        import pyarrow
        import pyarrow.parquet

        text = "query\tpositive\tnegative_1\tnegative_2\tscores\nq\tp\tn1\tn2\t[4, 3, 2]\n"
        wanted = [expected(4, 3, 2, negative_1="n1", negative_2="n2")]
        assert read(file("a.tsv", text), negatives=2) == wanted
        rows = [{"query": "q", "positive": "p", "negative_1": "n1", "negative_2": "n2", "label": [4.0, 3.0, 2.0]}]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
        assert read(tmp_path / "a.parquet", negatives=2) == wanted

    def test_shorter_rows_among_longer_ones(self, file):
        full = {"query": "q", "positive": "p", "negative_1": "n1", "negative_2": "n2", "scores": [4, 3, 2]}
        short = {**full, "negative_2": None, "scores": [4, 3, None]}
        gap = {**full, "negative_1": "", "scores": [4, 3, 2]}
        report = ExampleReport()
        path = file("a.jsonl", "\n".join(map(json.dumps, (full, short, gap))))
        assert read(path, report) == [expected(4, 3), expected(4, 3)]
        assert report.skipped == {"empty text": 1}
        assert read(path, negatives=2) == [expected(4, 3, 2, negative_1="n1", negative_2="n2")]

    @pytest.mark.parametrize(
        ("label", "reason"),
        [
            ('"nan"', "score is not finite"),
            ('["inf", 1]', "score is not finite"),
            ("[1e39, 1]", "score is not finite"),
            ("[1, null, 2]", "score is no number"),
            ('"high"', "score is no number"),
            ("true", "score is no number"),
            ('"1_0"', "score is no number"),
            ('"[1, 2"', "scores are no list"),
            ("[1, 2, 3]", "wrong number of scores"),
            ("[]", "wrong number of scores"),
        ],
    )
    def test_scores_that_are_of_no_use(self, file, label, reason):
        good = '{"query": "q", "positive": "p", "negative": "n1", "label": [2, 1]}'
        bad = f'{{"query": "q", "positive": "p", "negative": "n1", "label": {label}}}'
        report = ExampleReport()
        path = file("a.jsonl", f"{good}\n{bad}\n{good}\n")
        assert read(path, report) == [expected(2, 1)] * 2
        assert report.skipped == {reason: 1}
        assert report.examples[reason][0].startswith(f"{path}:2: {reason}")
        with pytest.raises(DocumentError, match=r"a\.jsonl:2"):
            read(path, ExampleReport(strict=True))

    def test_a_file_without_scores(self, file):
        path = file("a.tsv", "query\tpositive\tnegative\nq\tp\tn\n")
        with pytest.raises(TrainingDataError, match=r"no column with scores \(columns: query, positive, negative\)"):
            read(path)

    def test_scores_are_no_negatives_of_tuples(self, file):
        path = file("a.tsv", "query\tpositive\tnegative\tneg_score\nq\tp\tn\t1.5\n")
        recipe = Recipe(name="x", data="tuples")
        (found,) = read_source(Source(path), recipe, ExampleReport())
        assert found == {"query": "q", "positive": "p", "negative_1": "n"}


class TestLines:
    def test_ids_beside_a_collection(self, marco):
        wanted = [
            {"query": "first query", "positive": "passage one", "negative_1": "passage two", "scores": [5.5, 1.25]},
            {"query": "second query", "positive": "passage three", "negative_1": "passage one", "scores": [2, 3]},
            {"query": "first query", "positive": "passage one", "negative_1": "passage three", "scores": [5.5, 0.5]},
        ]
        assert read(marco / "teacher.tsv") == wanted
        assert read(marco) == wanted
        assert read(marco, instruction="Find it.")[0]["query"] == "Instruct: Find it. \n Query: first query"

    def test_several_negatives_are_gathered(self, marco):
        report = ExampleReport()
        (found,) = read(marco, report, negatives=2)
        assert found == {
            "query": "first query",
            "positive": "passage one",
            "negative_1": "passage two",
            "negative_2": "passage three",
            "scores": [5.5, 1.25, 0.5],
        }
        assert report.skipped == {"too few negatives": 1}

    def test_another_score_of_the_same_pair(self, marco, file):
        file("m/teacher.tsv", LINES + "5.51\t0.5\tq2\tp2\tp1\n9\t0.5\tq1\tp1\tp3\n")
        report = ExampleReport()
        assert len(read(marco, report, negatives=2)) == 1
        assert report.skipped["another score of the same pair"] == 1
        assert "teacher.tsv:5" in report.examples["another score of the same pair"][0]

    def test_texts_in_the_lines(self, file):
        path = file("expanded.tsv.gz", "2.5\t-1\tfirst query\tpassage one\tpassage two\n")
        (found,) = read(path)
        assert found == {
            "query": "first query",
            "positive": "passage one",
            "negative_1": "passage two",
            "scores": [2.5, -1],
        }
        with pytest.raises(TrainingDataError, match="set negatives to 1, not 2"):
            read(path, negatives=2)

    def test_what_is_wrong_is_counted_with_its_lines(self, marco, file):
        bad = [
            "5.5\tq1\tp1\tp2",
            "x\t1\tq1\tp1\tp2",
            "nan\t1\tq1\tp1\tp2",
            "1\t2\tq1\tp9\tp2",
            "1\t2\tq9\tp1\tp2",
            "1\t2\tq1\t\tp2",
        ]
        file("m/teacher.tsv", LINES + "\n".join(bad) + "\n")
        report = ExampleReport()
        assert len(read(marco, report)) == 3
        assert report.skipped == {
            "not a teacher's line": 1,
            "score is no number": 1,
            "score is not finite": 1,
            "id without a text": 2,
            "empty text": 1,
        }
        assert "teacher.tsv:4" in report.examples["not a teacher's line"][0]
        assert "passage 'p9' is not in the collection" in report.examples["id without a text"][0]
        assert "query 'q9' is not in the collection" in report.examples["id without a text"][1]

    def test_folders_with_none_or_several(self, marco, file):
        file("m/other.tsv", LINES)
        with pytest.raises(TrainingDataError, match=r"several files of teachers' scores: other\.tsv, teacher\.tsv"):
            read(marco)
        for name in ("other", "teacher"):
            (marco / f"{name}.tsv").unlink()
        with pytest.raises(TrainingDataError, match=r"has no file of a teacher's scores.*`retrieval teach score`"):
            read(marco)

    def test_ids_without_a_collection(self, file):
        with pytest.raises(TrainingDataError, match=r"no collection\.tsv"):
            read(file("n/teacher.tsv", LINES))

    def test_a_split_of_the_queries(self, marco, file):
        file("m/queries.dev.tsv", "q1\tanother query\n")
        report = ExampleReport()
        assert {row["query"] for row in read(marco, report, "dev")} == {"another query"}
        assert report.skipped == {"id without a text": 1}


class TestStored:
    def test_as_an_arrow_file(self, marco, tmp_path):
        recipe = Recipe(name="x", data="scored_tuples")
        dataset = store_examples(tmp_path, [Source(marco)], recipe).dataset()
        assert dataset.column_names == ["query", "positive", "negative_1", "scores"]
        assert dataset["scores"][:] == [[5.5, 1.25], [2.0, 3.0], [5.5, 0.5]]

    def test_memory_does_not_grow_with_the_file(self, file, tmp_path):
        passages = "".join(f"p{number}\t{'words ' * 200}{number}\n" for number in range(50))
        lines = "".join(f"{number}.5\t1\tq\tp{number % 50}\tp{(number + 1) % 50}\n" for number in range(15_000))
        file("l/collection.tsv", passages)
        file("l/queries.tsv", "q\tquery\n")
        path = file("l/teacher.tsv", lines)
        tracemalloc.start()
        try:
            stored = store_examples(tmp_path, [Source(path)], Recipe(name="x", data="scored_tuples"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert stored.counts == [15_000]
        assert stored.path.stat().st_size > 35_000_000
        assert peak < 12_000_000


class TestRealData:
    def test_published_lines(self, data_folder):
        folder = data_folder("msmarco-v2-dl21") / "msmarco_format"
        report = ExampleReport()
        found = read(folder, report)
        assert len(found) == 19_779
        assert report.n_skipped == 0
        assert found[0]["scores"] == [1964141.0, 2021515.0]


@pytest.mark.slow
def test_a_bi_encoder_learns_the_margins(file, tiny_bert, tmp_path):
    """From the file to the folder: the trained vectors' inner products have the teacher's margins."""
    import numpy as np

    from retrieval.encoders import load_encoder
    from retrieval.training import train

    words = ["man", "woman", "dog", "cat", "bird", "guitar", "house", "river"]
    rows = [
        {"query": first, "positive": f"the {first}", "negative": f"the {second}", "scores": [4.0 + number % 3, 1.0]}
        for number, (first, second) in enumerate(zip(words, words[1:] + words[:1], strict=True))
    ]
    path = file("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    recipe = Recipe(
        name="x",
        data="scored_tuples",
        loss="margin-mse",
        model_settings={"backbone": str(tiny_bert), "pooling": "cls"},
        learning_rate=2e-3,
        batch_size=8,
        max_steps=50,
        schedule="constant",
        warmup=0.0,
        dropout=0.0,
    )
    report = train(recipe, path, tmp_path / "model", device="cpu")
    losses = [loss for _, loss in report.losses]
    assert losses[-1] < 0.1 * losses[0]
    encoder = load_encoder(tmp_path / "model")
    assert encoder.similarity == "dot"
    queries = encoder.encode_queries([row["query"] for row in rows])
    positives, negatives = (encoder.encode_passages([row[name] for row in rows]) for name in ("positive", "negative"))
    margins = (queries * (positives - negatives)).sum(axis=1)
    assert np.abs(margins - [row["scores"][0] - 1 for row in rows]).mean() < 1.0
