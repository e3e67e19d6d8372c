"""Files of scores: what is written is read, ensembles are means, and sentence-transformers reads what is converted."""

from __future__ import annotations

import json
import re
import unicodedata

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.analysis.scripts import UNSPACED_SCRIPTS
from retrieval.distillation import convert, ensemble, score_tuples
from retrieval.distillation.scored_files import read_scored, write_scored
from retrieval.documents.report import ReadReport
from retrieval.errors import DocumentError, TrainingDataError
from retrieval.training.data.row_values import ScoredTuple
from tests.distillation.conftest import CountingTeacher
from tests.training.conftest import tiny_bert

__all__ = ["tiny_bert"]


def read(path) -> tuple[str, list[ScoredTuple]]:
    holds, tuples = read_scored(path, ReadReport(strict=True))
    return holds, [given for _, given in tuples]


def triples(seed: int, n: int = 12) -> list[ScoredTuple]:
    random = np.random.default_rng(seed)
    names = np.random.default_rng(0).integers(0, 1000, (n, 3)).astype(str).tolist()
    return [
        ScoredTuple(f"q{query}", (f"p{positive}", f"n{negative}"), tuple(random.normal(5, 3, 2).tolist()))
        for query, positive, negative in names
    ]


def teacher_file(folder, seed: int):
    path = folder / f"t{seed}.tsv"
    write_scored(path, triples(seed), "ids", column="scores")
    return path


numbers = st.floats(-3e38, 3e38, allow_nan=False).map(float)


def is_no_text(name: str) -> bool:
    """Tell whether a name has neither white space nor a letter of a script without it."""
    unspaced = re.compile(f"[{''.join(UNSPACED_SCRIPTS.values())}]")
    plain = unicodedata.normalize("NFKC", name)
    return name.split() == [name] and plain.split() == [plain] and not unspaced.search(plain)


ids = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=8).filter(is_no_text)
texts = (
    st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
    .filter(str.strip)
    .map(lambda text: f"a {text} b")
)


def tuples_of(names, n_negatives):
    return st.lists(
        st.builds(
            ScoredTuple,
            names,
            st.tuples(*[names] * (1 + n_negatives)),
            st.tuples(*[numbers] * (1 + n_negatives)),
        ),
        min_size=1,
        max_size=5,
    )


class TestRoundTrips:
    @pytest.mark.parametrize("form", [".tsv", ".jsonl", ".parquet"])
    @pytest.mark.parametrize(("holds", "names"), [("ids", ids), ("texts", texts)])
    @settings(max_examples=20)
    @given(data=st.data())
    def test_scores_come_back_as_they_were(self, tmp_path_factory, form, holds, names, data):
        path = tmp_path_factory.mktemp("files") / f"a{form}"
        given_tuples = data.draw(tuples_of(names, 1))
        assert write_scored(path, given_tuples, holds, column="label") == len(given_tuples)
        assert read(path) == (holds, given_tuples)

    @pytest.mark.parametrize("form", [".jsonl", ".parquet"])
    def test_several_negatives(self, tmp_path, form):
        several = [ScoredTuple("a query", ("good one", "bad one", "worse one"), (0.1, 0.2, 1 / 3))] * 2
        write_scored(tmp_path / f"a{form}", several, "texts", column="scores")
        assert read(tmp_path / f"a{form}") == ("texts", several)
        write_scored(
            tmp_path / f"b{form}", [ScoredTuple("q", ("p", "n", "m"), (1.0, 2.0, 3.0))], "ids", column="scores"
        )
        assert read(tmp_path / f"b{form}") == ("ids", [ScoredTuple("q", ("p", "n", "m"), (1.0, 2.0, 3.0))])
        write_scored(tmp_path / "c.tsv", several[:1], "texts", column="scores")
        assert [given.scores for given in read(tmp_path / "c.tsv")[1]] == [(0.1, 0.2), (0.1, 1 / 3)]

    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            (["東京の天気は\t晴れです\t雨です"], "texts"),
            (["鸟在哪里睡觉\t树上\t水里"], "texts"),
            (["นกนอนที่ไหน\tบนต้นไม้\tในน้ำ"], "texts"),
            (["ﾄｳｷｮｳ\tﾊﾚ\tｱﾒ"], "texts"),  # half-width, which becomes Katakana
            (["is water wet\tyes\tno", "is fire cold\tno\tyes"], "texts"),
            (["yes\tno\tperhaps", "how do birds sleep\ton a branch\tunder water"], "texts"),
            (["yes\tno\tperhaps", "maybe\tyes\tno", *["how do birds sleep\ton a branch\tin it"] * 8], "texts"),
            (["q1\tp1\tp2", "Q-2\tdoc/3\tdoc#4"], "ids"),
            (["q1\tp1\tp2", "q2\tp 3\tp4", "q3\tp3\tp4"], "ids"),
            (["größe\tнос\tdéjà"], "ids"),
            (["q1\tp1\tp2", *["broken"] * 9, "a text\tof words\tor two"], "ids"),  # the eleventh is not looked at
        ],
    )
    def test_lines_without_a_header_hold_texts_or_ids(self, tmp_path, lines, expected):
        (tmp_path / "a.tsv").write_text("".join(f"1.5\t0.5\t{line}\n" for line in lines), encoding="utf-8")
        assert read_scored(tmp_path / "a.tsv", ReadReport())[0] == expected

    def test_rows_of_texts_without_spaces_are_rows_of_texts(self, tmp_path):
        (tmp_path / "a.tsv").write_text("2.5\t1.0\t鸟在哪里睡觉\t树上\t水里\n", encoding="utf-8")
        convert(tmp_path / "a.tsv", tmp_path / "a.jsonl")
        assert json.loads((tmp_path / "a.jsonl").read_text(encoding="utf-8")) == {
            "query": "鸟在哪里睡觉",
            "positive": "树上",
            "negative": "水里",
            "label": [2.5, 1.0],
        }

    def test_what_a_form_cannot_hold(self, tmp_path):
        for text in ("a\tb", "a\nb", "a\u2028b"):
            with pytest.raises(TrainingDataError, match=r"holds a tab or a line end.*write \.jsonl"):
                write_scored(tmp_path / "a.tsv", [ScoredTuple("q", (text, "n"), (1, 2))], "texts", column="scores")
        ragged = [ScoredTuple("q", ("p", "n"), (1, 2)), ScoredTuple("q", ("p", "n", "m"), (1, 2, 3))]
        with pytest.raises(TrainingDataError, match="tuple 2 has 2 negatives, the first one 1"):
            write_scored(tmp_path / "a.parquet", ragged, "texts", column="scores")
        with pytest.raises(TrainingDataError, match="there is nothing to write"):
            write_scored(tmp_path / "a.jsonl", [], "texts", column="scores")
        with pytest.raises(TrainingDataError, match=r"must end with \.tsv or \.jsonl or \.parquet"):
            write_scored(tmp_path / "a.csv", ragged, "texts", column="scores")
        assert list(tmp_path.iterdir()) == []


class TestEnsemble:
    def test_of_one_teacher_is_the_teacher(self, tmp_path):
        one = teacher_file(tmp_path, 1)
        assert ensemble([one], tmp_path / "e.tsv") == 12
        assert (tmp_path / "e.tsv").read_bytes() == one.read_bytes()

    def test_of_three_teachers_is_the_mean_of_scores_and_of_margins(self, tmp_path):
        files = [teacher_file(tmp_path, seed) for seed in (1, 2, 3)]
        ensemble(files, tmp_path / "e.tsv")
        scores = np.array([[given.scores for given in read(path)[1]] for path in files])  # (teachers, tuples, 2)
        found = np.array([given.scores for given in read(tmp_path / "e.tsv")[1]])
        assert np.allclose(found, scores.mean(axis=0), rtol=1e-15)
        assert np.allclose(found[:, 0] - found[:, 1], (scores[:, :, 0] - scores[:, :, 1]).mean(axis=0), atol=1e-12)

    def test_of_shuffled_files_is_the_shuffled_ensemble(self, tmp_path):
        files = [teacher_file(tmp_path, seed) for seed in (1, 2, 3)]
        ensemble(files, tmp_path / "e.tsv")
        order = np.random.default_rng(0).permutation(12)
        shuffled = []
        for path in [*files, tmp_path / "e.tsv"]:
            lines = path.read_text().splitlines(keepends=True)
            shuffled.append(tmp_path / f"shuffled-{path.name}")
            shuffled[-1].write_text("".join(lines[row] for row in order))
        ensemble(shuffled[:3], tmp_path / "f.tsv")
        assert (tmp_path / "f.tsv").read_text() == shuffled[3].read_text()

    def test_of_rows_with_texts(self, tuples, tmp_path):
        places = [tmp_path / f"t{version}.jsonl" for version in "12"]
        for version, place in zip("12", places, strict=True):
            score_tuples(CountingTeacher(version), tuples, place)
        assert ensemble(places, tmp_path / "e.jsonl") == 7
        first, second, mean = (read(path)[1] for path in [*places, tmp_path / "e.jsonl"])
        for one, other, both in zip(first, second, mean, strict=True):
            assert both.passages == one.passages == other.passages
            assert np.allclose(both.scores, np.mean([one.scores, other.scores], axis=0), rtol=1e-15)
        record = json.loads((tmp_path / "e.jsonl.json").read_text())
        assert [member["teacher"]["version"] for member in record["ensemble"]] == ["1", "2"]

    def test_other_tuples_are_an_error_that_names_the_line(self, tmp_path):
        one, two = teacher_file(tmp_path, 1), teacher_file(tmp_path, 2)
        lines = two.read_text().splitlines(keepends=True)
        two.write_text("".join([*lines[:4], lines[5], lines[4], *lines[6:]]))
        with pytest.raises(TrainingDataError, match=r"t2\.tsv:5 holds another tuple than .*t1\.tsv:5"):
            ensemble([one, two], tmp_path / "e.tsv")
        two.write_text("".join(lines[:-1]))
        with pytest.raises(TrainingDataError, match=r"t1\.tsv:12 has a tuple, and another file ends"):
            ensemble([one, two], tmp_path / "e.tsv")
        two.write_text("".join([*lines[:3], "broken\n", *lines[3:]]))
        with pytest.raises(DocumentError, match=r"t2\.tsv:4: not a teacher's line"):
            ensemble([one, two], tmp_path / "e.tsv")
        assert not (tmp_path / "e.tsv").exists()

    def test_files_that_do_not_go_together(self, tmp_path, tuples):
        one = teacher_file(tmp_path, 1)
        score_tuples(CountingTeacher(), tuples, tmp_path / "t.jsonl")
        with pytest.raises(TrainingDataError, match=r"t\.jsonl holds texts, .*t1\.tsv holds ids"):
            ensemble([one, tmp_path / "t.jsonl"], tmp_path / "e.tsv")
        with pytest.raises(TrainingDataError, match="at least one file"):
            ensemble([], tmp_path / "e.tsv")
        with pytest.raises(TrainingDataError, match="is there already"):
            ensemble([one], one)
        with pytest.raises(TrainingDataError, match="no file of scored tuples"):
            ensemble([tmp_path / "no.tsv"], tmp_path / "e.tsv")

    def test_a_member_that_was_changed_after_it_was_scored(self, marco, tmp_path):
        score_tuples(CountingTeacher(), marco, tmp_path / "t.tsv")
        text = (tmp_path / "t.tsv").read_text()
        (tmp_path / "t.tsv").write_text(text.partition("\n")[2])
        with pytest.raises(TrainingDataError, match=r"t\.tsv has changed since"):
            ensemble([tmp_path / "t.tsv"], tmp_path / "e.tsv")


class TestConversion:
    @pytest.mark.parametrize("form", [".jsonl", ".parquet"])
    def test_published_lines_and_back(self, tmp_path, form):
        one = teacher_file(tmp_path, 1)
        convert(one, tmp_path / f"a{form}")
        convert(tmp_path / f"a{form}", tmp_path / "back.tsv")
        assert (tmp_path / "back.tsv").read_bytes() == one.read_bytes()

    def test_margins_stay_what_they_are(self, tmp_path):
        one = teacher_file(tmp_path, 1)
        convert(one, tmp_path / "a.parquet", margins=True)
        table = pyarrow.parquet.read_table(tmp_path / "a.parquet")
        assert table.column_names == ["query_id", "positive_id", "negative_id", "label"]
        margins = [given.scores[0] - given.scores[1] for given in triples(1)]
        assert table["label"].to_pylist() == margins
        convert(tmp_path / "a.parquet", tmp_path / "back.tsv", report=(report := ReadReport()))
        assert [given.scores for given in read(tmp_path / "back.tsv")[1]] == [(margin, 0) for margin in margins]
        assert report.noted == {"margin without scores": 12}
        convert(tmp_path / "back.tsv", tmp_path / "again.parquet", margins=True)
        assert pyarrow.parquet.read_table(tmp_path / "again.parquet").equals(table)

    def test_ids_get_their_texts(self, marco, tmp_path):
        score_tuples(CountingTeacher(), marco, tmp_path / "ids.tsv")
        score_tuples(CountingTeacher(), marco, tmp_path / "texts.jsonl")
        convert(tmp_path / "ids.tsv", tmp_path / "expanded.tsv", texts=marco)
        assert read(tmp_path / "expanded.tsv") == read(tmp_path / "texts.jsonl")
        with pytest.raises(TrainingDataError, match="has texts already"):
            convert(tmp_path / "expanded.tsv", tmp_path / "a.jsonl", texts=marco)

    def test_numbers_and_lists_of_ids(self, tmp_path):
        rows = [{"query_id": 7, "positive_id": 1, "negative_ids": [2, 3], "label": [3.5, 1.5, 0.5]}]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
        convert(tmp_path / "a.parquet", tmp_path / "a.tsv")
        assert (tmp_path / "a.tsv").read_text() == "3.5\t1.5\t7\t1\t2\n3.5\t0.5\t7\t1\t3\n"

    def test_what_cannot_be_done(self, tmp_path):
        one = teacher_file(tmp_path, 1)
        with pytest.raises(TrainingDataError, match=r"margins go to \.jsonl or \.parquet"):
            convert(one, tmp_path / "a.tsv", margins=True)
        with pytest.raises(TrainingDataError, match="is there already"):
            convert(one, one)
        (tmp_path / "b.jsonl").write_text('{"query": "q", "positive": "p", "negative": "n"}\n')
        with pytest.raises(TrainingDataError, match="no column with scores"):
            convert(tmp_path / "b.jsonl", tmp_path / "c.jsonl")
        (tmp_path / "d.jsonl").write_text("")
        with pytest.raises(TrainingDataError, match="has no rows"):
            convert(tmp_path / "d.jsonl", tmp_path / "c.jsonl")

    @pytest.mark.slow
    @pytest.mark.parametrize("margins", [False, True])
    def test_sentence_transformers_trains_on_it(self, marco, tmp_path, tiny_bert, margins):
        """Its own collator and loss, on the file as it is; the loss is that of this package on the same examples."""
        import torch
        from datasets import load_dataset
        from sentence_transformers.base.data_collator import BaseDataCollator
        from sentence_transformers.sentence_transformer.losses import MarginMSELoss

        from retrieval.training.builders.encoder import build_model
        from retrieval.training.losses.margin_mse import build_loss

        score_tuples(CountingTeacher(), marco, tmp_path / "ids.tsv")
        convert(tmp_path / "ids.tsv", tmp_path / "a.parquet", texts=marco, margins=margins)
        dataset = load_dataset("parquet", data_files=str(tmp_path / "a.parquet"), split="train", cache_dir=tmp_path)
        model = build_model(backbone=str(tiny_bert), pooling="cls").eval()
        batch = BaseDataCollator(preprocess_fn=model.preprocess)(list(dataset))
        labels = batch.pop("label")

        def columns():
            return [
                {
                    name.removeprefix(f"{column}_"): value
                    for name, value in batch.items()
                    if name.startswith(f"{column}_")
                }
                for column in ("query", "positive", "negative")
            ]

        theirs = MarginMSELoss(model)(columns(), labels)
        scores = torch.tensor([given.scores for given in read(tmp_path / "ids.tsv")[1]])
        assert build_loss(model)(columns(), scores).item() == pytest.approx(theirs.item(), rel=1e-5)
