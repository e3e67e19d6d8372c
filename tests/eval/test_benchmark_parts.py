"""What the benchmarks are made of: texts, spreads, outcomes and the memory gauge."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from eval.benchmarks import lexical_indexing
from eval.benchmarks.peers.installed import missing
from eval.benchmarks.processes import Spread, ratios, run_worker
from eval.benchmarks.short_texts import WordModel, short_texts
from eval.benchmarks.workers import read_texts, write_texts
from eval.errors import EvaluationError, ReproductionError
from eval.outcome import Outcome

REAL = ["the cat sat", "the dog sat on the mat", "a mat", "the end"]


def test_generated_texts_are_the_same_for_a_seed_and_any_block():
    model = WordModel.fitted(REAL)
    assert list(model.sample(50, seed=3)) == list(model.sample(50, seed=3))
    assert list(model.sample(50, seed=3)) != list(model.sample(50, seed=4))
    assert len(list(model.sample(25, block=10))) == 25


def test_generated_texts_have_the_words_and_lengths_of_the_real_ones():
    words = [word for text in REAL for word in text.split()]
    texts = list(WordModel.fitted(REAL).sample(20_000, seed=1))
    drawn = Counter(word for text in texts for word in text.split())
    assert set(drawn) == set(words)
    for word, count in Counter(words).items():
        assert drawn[word] / drawn.total() == pytest.approx(count / len(words), rel=0.1)
    lengths = Counter(len(text.split()) for text in texts)
    assert set(lengths) == {2, 3, 6}
    assert lengths[2] / len(texts) == pytest.approx(0.5, abs=0.02)


def test_invented_words_follow_zipf():
    model = WordModel.zipfian(n_words=1000)
    assert len(set(model.words)) == 1000
    assert model.probabilities.sum() == pytest.approx(1)
    assert (np.diff(model.probabilities) < 0).all()
    assert model.probabilities[0] / model.probabilities[9] == pytest.approx((12.7 / 3.7) ** 1.1)


def test_without_texts_there_is_no_model():
    with pytest.raises(EvaluationError, match="no words"):
        WordModel.fitted(["", "  "])


def test_sources_of_texts(tmp_path):
    assert len(short_texts(10, "synthetic", tmp_path)) == 10
    with pytest.raises(EvaluationError, match="unknown source of texts 'other'"):
        short_texts(10, "other", tmp_path)


def test_real_texts(data):
    texts = short_texts(1000, "real", data)
    assert len(texts) == 1000
    assert texts == short_texts(1200, "real", data)[:1000]


def test_texts_survive_the_way_to_another_process(tmp_path):
    texts = ["two\nlines", "", "คำถาม \u2028 文書"]
    write_texts(tmp_path / "texts.jsonl", texts)
    assert read_texts(tmp_path / "texts.jsonl") == texts


def test_spreads_and_ratios():
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert Spread.of([3.0, 1.0, 2.0]).text(1, " s") == "2.0 s (1.0 to 3.0)"
    assert ratios([{"s": 2.0}, {"s": 9.0}], [{"s": 1.0}, {"s": 3.0}], "s") == Spread(2.5, 2.0, 3.0)


def test_peak_memory_sees_what_was_given_back():
    # In a process of its own: the peak of this one may be far above what is allocated here.
    code = (
        "import numpy as np; from eval.benchmarks.processes import peak_memory; before = peak_memory(); "
        "block = np.ones(25_000_000); del block; print(peak_memory() - before)"
    )
    grown = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    assert 100_000_000 < grown < 1_000_000_000


def test_a_failing_worker_is_named():
    with pytest.raises(ReproductionError, match=r"the worker 'index-with-bm25s' failed: .*nowhere"):
        run_worker(["index-with-bm25s", "/nowhere/texts.jsonl"])


def test_an_outcome_is_shown_and_stored():
    outcome = Outcome("A title", ["side", "seconds"], [["ours", "1.0"], ["theirs", "2.0"]], ["a note"], {"n": 3})
    assert "| ours | 1.0 |" in outcome.markdown()
    assert "- a note" in outcome.markdown()
    content = json.loads(outcome.to_json())
    assert content["numbers"] == {"n": 3}
    assert content["machine"]["cores"] >= 1
    assert outcome.table().row_count == 2


@pytest.mark.slow
def test_lexical_benchmark_checks_scores_before_it_times(tmp_path):
    outcome = lexical_indexing.measure(tmp_path, n=300, source="synthetic", repeats=1)
    assert outcome.numbers["check"]["queries"] > 100
    assert 0 < outcome.numbers["check"]["largest_difference"] < 1e-4  # different arithmetic, same scores
    assert len(outcome.numbers["ours"]) == len(outcome.numbers["bm25s"]) == 1
    assert outcome.numbers["ours"][0]["bytes"] > 0
    assert [row[0] for row in outcome.rows][:2] == ["collection, on disk", "bm25s, tokenise + index"]
    assert len(outcome.rows) == (2 if missing("tantivy") else 3)
    for side in outcome.numbers["ratios"]:
        assert outcome.numbers[side][0]["seconds"] > 0


@pytest.mark.slow
def test_synthetic_texts_are_distributed_like_the_collection_that_they_are_fitted_to(data):
    from eval.benchmarks.short_texts import word_model
    from retrieval.documents import read_documents

    real = [document.full_text.split() for document in read_documents(data / "debian-packages", format="beir")]
    made = [text.split() for text in word_model(data).sample(len(real), seed=7)]
    percentiles = (5, 25, 50, 75, 95)
    assert np.percentile([len(text) for text in made], percentiles) == pytest.approx(
        np.percentile([len(text) for text in real], percentiles), rel=0.05
    )
    counts = {
        side: Counter(word for text in texts for word in text) for side, texts in (("real", real), ("made", made))
    }
    for word, count in counts["real"].most_common(200):
        assert counts["made"][word] == pytest.approx(count, rel=0.1)
    # Words that occur once are half of a real vocabulary, and of what was drawn from it only what was met.
    assert 0.5 < len(counts["made"]) / len(counts["real"]) < 1
