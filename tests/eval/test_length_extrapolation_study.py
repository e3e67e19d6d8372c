"""The study's documents and queries, with an encoder that counts words instead of a trained one."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence

import numpy as np
import pytest

from eval.experiments.options import Options
from eval.experiments.studies import length_extrapolation as study
from eval.experiments.token_documents import VectorCache

N_WORDS = 500


class WordCounts:
    """Tokens are numbers; a vector is how often each comes, which no place has a say in."""

    n_special = 2

    def __init__(self) -> None:
        self.encoded: list[list[int]] = []

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the numbers in the texts."""
        return [[int(word) for word in text.split()] for text in texts]

    def vectors(self, documents: Sequence[Sequence[int]]) -> np.ndarray:
        """Return the counts, of length one."""
        self.encoded += [list(document) for document in documents]
        counts = np.stack([np.bincount(document, minlength=N_WORDS) for document in documents])
        return (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)

    def text_vectors(self, texts: Sequence[str]) -> np.ndarray:
        """Return the counts of texts."""
        return self.vectors(self.tokens(texts))


def write_set(folder, paragraphs: dict[str, str], questions: dict[str, tuple[str, str]]) -> None:
    """Write a BEIR folder; a question is its text and the paragraph that answers it."""
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", paragraphs), ("queries", {key: text for key, (text, _) in questions.items()})):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps({"_id": key, "title": "", "text": text}) + "\n" for key, text in texts.items())
    lines = [f"{key}\t{answer}\t1\n" for key, (_, answer) in questions.items()]
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines), encoding="utf-8")


@pytest.fixture
def options(tmp_path):
    """Paragraphs and meetings, each with a word that no other has; a question is that word."""
    random = np.random.default_rng(0)
    paragraphs = {f"article#{n}": " ".join(map(str, [n, *random.integers(100, N_WORDS, 79)])) for n in range(40)}
    questions = {f"q{n}": (str(n), f"article#{n}") for n in range(12)}
    write_set(tmp_path / "squad11", paragraphs, questions)
    meetings = {f"m{n}": " ".join(map(str, [*random.integers(100, N_WORDS, 700), n])) for n in range(12)}
    write_set(tmp_path / "qmsum-longdoc", meetings, {f"q{n}": (str(n), f"m{n}") for n in range(12)})
    return Options(tmp_path, tmp_path / "workspace")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(study, "LENGTHS", (64, 128, 512, 703))
    monkeypatch.setattr(study, "LONGEST", 700)


def test_needles_are_found_in_any_length(options):
    encoder = WordCounts()
    found, notes = study.needles({"alibi": encoder}, options, VectorCache(None), seed=0)
    measured = found["alibi"]
    assert list(measured.whole) == [128, 512, 703]
    assert "with 12 questions" in notes[0]
    for length in (128, 512, 703):
        assert measured.whole[length] == [1.0] * 12  # the word of the question is in one document only
        assert measured.windows[length] == [1.0] * 12
        documents = [tokens for tokens in encoder.encoded if len(tokens) == length - 2]
        needles = [{token for token in tokens if token < 100} for tokens in documents]
        # 12 needles, each in its own document; what else is in them is the same text.
        assert len(documents) == 12
        own = [needle - set.intersection(*needles) for needle in needles]
        assert sorted(min(each) for each in own) == list(range(12))


def test_meetings_are_read_as_far_as_said(options):
    found, _ = study.cut_meetings({"alibi": WordCounts()}, options, VectorCache(None), seed=0)
    measured = found["alibi"]
    assert list(measured.whole) == [64, 128, 512, 703]
    assert np.mean(measured.whole[512]) < 1  # the word of the question is the meeting's last, the 701st
    assert measured.whole[703] == measured.windows[703] == [1.0] * 12
    assert measured.cosines[64] == pytest.approx(1)  # one window is the whole document
    assert 0.95 < measured.cosines[703] < 1


def test_outcome_compares_pair_by_pair():
    better = study.Measured({64: [1.0, 0.5, 1.0]}, {64: [1.0, 0.5, 0.5]}, {64: 0.9}, {64: 2.0})
    worse = study.Measured({64: [0.0, 0.5, 0.5]}, {64: [1.0, 0.5, 0.5]}, {64: 0.8}, {64: 3.0})
    outcome = study._outcome("Title", {"alibi": better, "learned": worse}, ["how"], ["trained"], seed=5)
    cells = {row[0]: row[1] for row in outcome.rows}
    assert cells["ALiBi: whole document"] == "0.833"
    assert cells["ALiBi: cosine of both"] == "0.900"
    assert cells["ALiBi: difference"].startswith("+0.1667 [")
    assert cells["ALiBi over learned positions"].startswith("+0.5000 [")
    assert outcome.numbers["seed"] == 5
    assert [outcome.notes[0], *outcome.notes[2:]] == ["3 queries", "how", "trained"]
    assert "ALiBi is not told apart from learned positions" in outcome.notes[1]  # of three queries


def test_the_verdict_is_what_is_more_than_chance():
    high, low = {64: [0.9] * 20}, {64: [0.5] * 20}
    found = {
        "alibi": study.Measured(high, high, {64: 1.0}, {64: 1.0}),
        "learned": study.Measured(low, high, {64: 1.0}, {64: 1.0}),
    }
    verdict = study._outcome("Title", found, [], [], seed=0).notes[1]
    assert "ALiBi keeps the quality of its windows" in verdict
    assert "learned positions loses 0.400 against its windows" in verdict
    assert "ALiBi is better than learned positions by 0.400" in verdict
