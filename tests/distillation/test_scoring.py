"""A teacher's scores of all tuples: each pair once, in bounded memory, and the same file however often it is killed."""

from __future__ import annotations

import json
import os
import signal
import sys
import tracemalloc

import numpy as np
import pytest

from indexes.errors import LockedError
from indexes.file_operations import watch
from indexes.locks import WriterLock
from retrieval.distillation import score_tuples
from retrieval.distillation.pairs import PositiveScores
from retrieval.distillation.parts import parts_folder
from retrieval.distillation.unscored import Unscored
from retrieval.errors import DocumentError, RerankerError, TrainingDataError, TrainingError
from retrieval.rerankers import FunctionReranker
from tests.distillation.conftest import N_TRIPLES, CountingTeacher, relevance
from tests.retrieval.conftest import own_cache

__all__ = ["own_cache"]


def lines(path):
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


class TestScores:
    def test_triples_become_five_columns(self, marco, teacher, tmp_path):
        report = score_tuples(teacher, marco, tmp_path / "t.tsv", window=5)
        expected = []
        for line in (marco / "qidpidtriples.train.tsv").read_text().splitlines():
            query, positive, negative = line.split("\t")
            scores = [
                relevance(f"query number {query[1:]}", f"passage number {text[1:]}", "1")
                for text in (positive, negative)
            ]
            expected.append([*map(repr, scores), query, positive, negative])
        assert lines(tmp_path / "t.tsv") == expected
        assert (report.tuples, report.adopted, report.pairs) == (N_TRIPLES, 0, len(teacher.pairs))
        assert report.data == f"read {N_TRIPLES} tuples"
        assert not parts_folder(tmp_path / "t.tsv").exists()

    @pytest.mark.parametrize("window", [1, 4, 1000])
    def test_pairs_of_a_window_and_positives_of_all_go_to_the_teacher_once(self, marco, teacher, tmp_path, window):
        score_tuples(teacher, marco, tmp_path / "t.tsv", window=window)
        rows = lines(tmp_path / "t.tsv")
        negatives = [
            {(query, negative) for _, _, query, _, negative in rows[start : start + window]}
            for start in range(0, len(rows), window)
        ]
        positives = {(query, positive) for _, _, query, positive, _ in rows}
        assert len(teacher.pairs) == len(positives) + sum(map(len, negatives))

    def test_positives_beyond_the_limit_are_forgotten(self):
        tuples = [Unscored(f"q{number}", ("p", "n"), None) for number in range(4)]
        positives = PositiveScores(limit=3)
        positives.add(tuples, [0.0, 1.0, 2.0, 3.0])
        assert [positives.get(given.query, "p") for given in tuples] == [None, 1, 2, 3]
        assert positives.get("q1", "n") is None
        assert (PositiveScores.get(positives, "q", "1p"), positives.get("q1p", "")) == (None, None)

    def test_batches_go_across_queries(self, marco, tmp_path):
        calls = []

        class Batched(CountingTeacher):
            def score(self, queries, candidates):
                calls.append(len(queries))
                return super().score(queries, candidates)

        score_tuples(Batched(), marco, tmp_path / "t.tsv", window=N_TRIPLES)
        assert calls == [4]

    def test_tuples_with_texts_become_rows(self, tuples, teacher, tmp_path):
        score_tuples(teacher, tuples, tmp_path / "t.jsonl", window=3)
        given = [json.loads(line) for line in tuples.read_text().splitlines()]
        found = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
        assert len(found) == len(given)
        for row, before in zip(found, given, strict=True):
            passages = [before["positive"], *before["negatives"]]
            assert [value for name, value in row.items() if name.startswith(("pos", "neg"))] == passages
            assert row["scores"] == [relevance(before["query"], passage, "1") for passage in passages]

    def test_triples_can_become_rows_with_texts(self, marco, teacher, tmp_path):
        score_tuples(teacher, marco, tmp_path / "t.jsonl")
        first = json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0])
        assert (first["query"], first["positive"], first["negative"]) == (
            "query number 0",
            "passage number 0",
            "passage number 4",
        )

    def test_lines_of_another_teacher_are_scored_anew(self, marco, teacher, tmp_path):
        score_tuples(teacher, marco, marco / "t1.tsv")
        score_tuples(CountingTeacher("2"), marco / "t1.tsv", tmp_path / "t2.tsv")
        first, second = lines(marco / "t1.tsv"), lines(tmp_path / "t2.tsv")
        assert [row[2:] for row in first] == [row[2:] for row in second]
        assert first[0][:2] != second[0][:2]

    def test_what_is_trained_on(self, marco, teacher, tmp_path):
        from retrieval.training import Recipe
        from retrieval.training.data import ExampleReport, Source, read_source

        score_tuples(teacher, marco, marco / "t.tsv")
        score_tuples(teacher, marco, tmp_path / "t.jsonl")
        recipe = Recipe(name="x", data="scored_tuples")
        by_ids, by_texts = (
            list(read_source(Source(path), recipe, ExampleReport())) for path in (marco, tmp_path / "t.jsonl")
        )
        assert len(by_ids) == N_TRIPLES
        assert by_ids == by_texts

    def test_the_record_says_who_scored_what(self, marco, teacher, tmp_path):
        score_tuples(teacher, marco, tmp_path / "t.tsv")
        record = json.loads((tmp_path / "t.tsv.json").read_text())
        assert record["teacher"] == teacher.identity()
        assert record["tuples"] == N_TRIPLES
        assert set(record["data"]) == {"tuples", "passages", "queries"}

    def test_rows_that_cannot_be_used_are_counted(self, marco, teacher, tmp_path):
        place = marco / "qidpidtriples.train.tsv"
        place.write_text(place.read_text() + "q1\tp1\n" + "q9\tp1\tp2\n", encoding="utf-8")
        report = score_tuples(teacher, marco, tmp_path / "t.tsv")
        assert report.tuples == N_TRIPLES
        assert f"not a triple 1 (first {place}:{N_TRIPLES + 1})" in report.data
        assert f"id without a text 1 (first {place}:{N_TRIPLES + 2})" in report.data
        with pytest.raises(DocumentError, match="not a triple"):
            score_tuples(teacher, marco, tmp_path / "strict.tsv", strict=True)

    def test_memory_does_not_grow_with_the_tuples(self, tmp_path):
        path = tmp_path / "large.tsv"
        with path.open("w", encoding="utf-8") as stream:
            stream.write("query\tpositive\tnegative\n")
            stream.writelines(f"question {n}\t{'words ' * 600}{n}\t{'other ' * 600}{n}\n" for n in range(4_000))
        assert path.stat().st_size > 25_000_000
        plain = FunctionReranker(lambda _query, texts: np.zeros(len(texts)))
        tracemalloc.start()
        try:
            report = score_tuples(plain, path, tmp_path / "t.jsonl", window=100)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert report.tuples == 4_000
        assert peak < 8_000_000


class TestRefusals:
    def test_a_teacher_that_compares_passages(self, marco, teacher, tmp_path):
        class Pairwise(CountingTeacher):
            def calls(self, n):
                return n * (n - 1)

        with pytest.raises(RerankerError, match="compares passages with each other"):
            score_tuples(Pairwise(), marco, tmp_path / "t.tsv")

    def test_scores_that_are_not_finite(self, marco, tmp_path):
        wrong = FunctionReranker(lambda _query, texts: [float("nan")] * len(texts))
        with pytest.raises(RerankerError, match="returned nan for document"):
            score_tuples(wrong, marco, tmp_path / "t.tsv")

    def test_places_and_forms(self, marco, tuples, teacher, tmp_path):
        with pytest.raises(TrainingDataError, match=r"texts and no ids.*write \.jsonl"):
            score_tuples(teacher, tuples, tmp_path / "t.tsv")
        with pytest.raises(TrainingDataError, match=r"must end with \.tsv or \.jsonl"):
            score_tuples(teacher, marco, tmp_path / "t.parquet")
        with pytest.raises(TrainingDataError, match="neither a file nor a folder"):
            score_tuples(teacher, tmp_path / "no", tmp_path / "t.tsv")
        with pytest.raises(TrainingDataError, match=r"no file of triples, qidpidtriples\.dev\.tsv"):
            score_tuples(teacher, marco, tmp_path / "t.tsv", split="dev")
        (tmp_path / "t.tsv").write_text("mine\n")
        with pytest.raises(TrainingError, match="is there already"):
            score_tuples(teacher, marco, tmp_path / "t.tsv")

    def test_data_without_a_usable_tuple(self, teacher, tmp_path):
        path = tmp_path / "a.tsv"
        path.write_text("query\tpositive\tnegative\nq\t\tn\n", encoding="utf-8")
        with pytest.raises(TrainingDataError, match=r"no tuple in .* can be scored: read 0 tuples; skipped 1"):
            score_tuples(teacher, path, tmp_path / "t.jsonl")
        assert not parts_folder(tmp_path / "t.jsonl").exists()

    def test_a_folder_of_somebody_else_is_left_alone(self, marco, teacher, tmp_path):
        folder = parts_folder(tmp_path / "t.tsv")
        folder.mkdir()
        (folder / "thesis.tex").write_text("mine")
        with pytest.raises(TrainingError, match=r"holds 'thesis\.tex', which is none"):
            score_tuples(teacher, marco, tmp_path / "t.tsv")
        assert (folder / "thesis.tex").read_text() == "mine"

    def test_one_process_at_a_time(self, marco, teacher, tmp_path):
        folder = parts_folder(tmp_path / "t.tsv")
        folder.mkdir()
        with WriterLock(folder / "writer.lock"), pytest.raises(LockedError):
            score_tuples(teacher, marco, tmp_path / "t.tsv")


class Interrupted(Exception):
    """Stands for whatever ends a run in the middle."""


def interrupted_after(n_pairs: int) -> CountingTeacher:
    teacher = CountingTeacher()
    score = teacher._function

    def scores(query, texts):
        if len(teacher.pairs) >= n_pairs:
            raise Interrupted
        return score(query, texts)

    teacher._function = scores
    return teacher


@pytest.fixture
def whole(marco, tmp_path):
    """What an uninterrupted run writes."""
    score_tuples(CountingTeacher(), marco, tmp_path / "whole.tsv", window=5)
    return (tmp_path / "whole.tsv").read_bytes()


class TestGoingOn:
    def test_what_is_scored_is_not_scored_again(self, marco, tmp_path, whole):
        out = tmp_path / "t.tsv"
        first = interrupted_after(20)
        with pytest.raises(Interrupted):
            score_tuples(first, marco, out, window=5)
        assert not out.exists()
        second = CountingTeacher()
        report = score_tuples(second, marco, out, window=5)
        assert out.read_bytes() == whole
        assert 0 < report.adopted < N_TRIPLES
        assert len(second.pairs) == report.pairs
        alone = CountingTeacher()
        score_tuples(alone, marco, tmp_path / "alone.tsv", window=5)
        assert len(second.pairs) < len(alone.pairs)
        # Not even a positive that stands in a part and comes again behind it.
        adopted = {
            (f"query number {row[2][1:]}", f"passage number {row[3][1:]}") for row in lines(out)[: report.adopted]
        }
        assert adopted
        assert not adopted & set(second.pairs)

    def test_rows_with_texts(self, marco, tmp_path):
        score_tuples(CountingTeacher(), marco, tmp_path / "whole.jsonl", window=5)
        first, second = interrupted_after(20), CountingTeacher()
        with pytest.raises(Interrupted):
            score_tuples(first, marco, tmp_path / "t.jsonl", window=5)
        report = score_tuples(second, marco, tmp_path / "t.jsonl", window=5, progress=True)
        assert (tmp_path / "t.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
        rows = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()[: report.adopted]]
        assert rows
        assert not {(row["query"], row["positive"]) for row in rows} & set(second.pairs)

    def test_a_finished_file_is_left_alone(self, marco, tmp_path, whole):
        teacher = CountingTeacher()
        report = score_tuples(teacher, marco, tmp_path / "whole.tsv", window=5)
        assert (report.tuples, report.adopted, teacher.pairs) == (N_TRIPLES, N_TRIPLES, [])
        (tmp_path / "whole.tsv").write_bytes(whole[:-1])
        with pytest.raises(TrainingDataError, match=r"whole\.tsv has changed since"):
            score_tuples(teacher, marco, tmp_path / "whole.tsv", window=5)

    def test_a_file_of_somebody_else_is_not_replaced_by_an_interrupted_run(self, marco, tmp_path, whole):
        out = tmp_path / "t.tsv"
        with pytest.raises(Interrupted):
            score_tuples(interrupted_after(20), marco, out, window=5)
        out.write_text("precious\n")
        teacher = CountingTeacher()
        with pytest.raises(TrainingError, match=r"t\.tsv is there already; choose another name, or move it away"):
            score_tuples(teacher, marco, out, window=5)
        assert (out.read_text(), teacher.pairs) == ("precious\n", [])
        out.unlink()
        assert score_tuples(teacher, marco, out, window=5).adopted > 0
        assert out.read_bytes() == whole

    def test_a_file_that_comes_while_it_is_scored_is_not_replaced(self, marco, tmp_path, whole):
        out = tmp_path / "t.tsv"
        teacher = CountingTeacher()
        score = teacher._function

        def scores(query, texts):
            out.write_text("precious\n")
            return score(query, texts)

        teacher._function = scores
        with pytest.raises(TrainingError, match=r"t\.tsv was written while its scores were computed"):
            score_tuples(teacher, marco, out, window=5)
        assert out.read_text() == "precious\n"
        out.unlink()
        assert score_tuples(CountingTeacher(), marco, out, window=5).pairs == 0
        assert out.read_bytes() == whole

    def test_a_run_that_was_killed_before_its_record_is_finished(self, marco, tmp_path, whole):
        """The file has its name and the parts are still there."""
        out = tmp_path / "t.tsv"
        n_operations = 0

        def stop_after_the_file(_operation):
            nonlocal n_operations
            n_operations += 1
            if out.exists():
                raise Interrupted

        with pytest.raises(Interrupted), watch(stop_after_the_file):
            score_tuples(CountingTeacher(), marco, out, window=5)
        assert n_operations > 5
        assert parts_folder(out).exists()
        assert not (tmp_path / "t.tsv.json").exists()
        assert score_tuples(CountingTeacher(), marco, out, window=5).pairs == 0
        assert out.read_bytes() == whole
        assert not parts_folder(out).exists()

    @pytest.mark.parametrize("change", ["teacher", "data", "window"])
    def test_another_teacher_or_other_data_are_refused(self, marco, tmp_path, change):
        out = tmp_path / "t.tsv"
        with pytest.raises(Interrupted):
            score_tuples(interrupted_after(20), marco, out, window=5)
        window, words = 5, r"teacher\.version was '1', is '2'"
        if change == "data":
            place = marco / "collection.tsv"
            place.write_text(place.read_text() + "p10\tanother\n", encoding="utf-8")
            words = r"data\.passages was '"
        elif change == "window":
            window, words = 6, "window was 5, is 6"
        with pytest.raises(TrainingError, match=words):
            score_tuples(CountingTeacher("2" if change == "teacher" else "1"), marco, out, window=window)

    def test_a_damaged_part_is_scored_again(self, marco, tmp_path, whole, caplog):
        out = tmp_path / "t.tsv"
        with pytest.raises(Interrupted):
            score_tuples(interrupted_after(20), marco, out, window=5)
        part = sorted(parts_folder(out).glob("*.part"))[0]
        part.write_bytes(part.read_bytes().replace(b"p4", b"p5"))
        score_tuples(CountingTeacher(), marco, out, window=5)
        assert out.read_bytes() == whole
        assert f"{part} is damaged" in caplog.text

    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
    def test_killed_at_every_change_of_the_disk(self, marco, tmp_path):
        """Each child goes on with what the ones before it left, and is killed a little later; none loses or doubles."""
        score_tuples(CountingTeacher(), marco, tmp_path / "whole-12.tsv", window=12)
        whole = (tmp_path / "whole-12.tsv").read_bytes()
        n_operations = 0

        def count(_operation):
            nonlocal n_operations
            n_operations += 1

        with watch(count):
            score_tuples(CountingTeacher(), marco, tmp_path / "counted.tsv", window=12)
        assert n_operations > 25
        for killed_at in range(n_operations):
            out = tmp_path / f"{killed_at}.tsv"
            status = run_and_kill(marco, out, killed_at, window=12)
            assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
            teacher = CountingTeacher()
            score_tuples(teacher, marco, out, window=12)
            assert out.read_bytes() == whole
            assert sorted(path.name for path in tmp_path.glob(f"{killed_at}.tsv*")) == [out.name, f"{out.name}.json"]

    @pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
    def test_killed_again_and_again(self, marco, tmp_path, whole):
        """A process that gets as far as a part before it is killed brings the work to its end."""
        out = tmp_path / "t.tsv"
        n_killed = 0
        while os.WIFSIGNALED(run_and_kill(marco, out, 20)):
            n_killed += 1
            assert n_killed < 30
        assert n_killed > 2
        assert out.read_bytes() == whole


def run_and_kill(data, out, operation: int, window: int = 5) -> int:
    """Score in another process that is killed before its n-th change of the disk; return its exit status."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = operation

    def kill(_operation):
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    try:
        with watch(kill):
            score_tuples(CountingTeacher(), data, out, window=window)
    finally:
        os._exit(0)


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_a_cross_encoder_gives_the_scores_of_its_pairs(marco, tmp_path):
    """Through transformers itself, one pair at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from retrieval.rerankers import load_reranker
    from tests.rerankers.conftest import save_classifier

    folder = save_classifier(tmp_path / "model")
    teacher = load_reranker(folder)
    score_tuples(teacher, marco, tmp_path / "t.tsv", window=6)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for positive_score, negative_score, query, positive, negative in lines(tmp_path / "t.tsv"):
        for found, passage in ((positive_score, positive), (negative_score, negative)):
            texts = f"query number {query[1:]}", f"passage number {passage[1:]}"
            with torch.inference_mode():
                logit = model(**tokenizer(*texts, return_tensors="pt")).logits.item()
            assert float(found) == pytest.approx(logit, abs=1e-5)
