"""The runtimes benchmark: losses by hand, and all of it on a few texts; and the cold starts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eval.benchmarks import cold_start, encoder_runtimes
from eval.benchmarks.encoder_runtimes import Found, Texts, loss, search
from retrieval import FunctionEncoder


def test_losses():
    reference = Found(np.array([[1, 0], [0, 2]], np.float32), np.array([[0, 1], [1, 2]]), 0.5)
    found = Found(np.array([[2, 0], [3, 4]], np.float32), np.array([[1, 0], [1, 3]]), 0.25)
    assert loss(reference, found) == pytest.approx(
        {"mean_cosine": 0.9, "lowest_cosine": 0.8, "overlap": 0.75, "ndcg": 0.25}
    )


def test_a_search_ranks_all_documents():
    encoder = FunctionEncoder(lambda texts: [[float(text), 1.0] for text in texts], "numbers", 1, dimension=2)
    texts = Texts("x", {"q": "1"}, {"q": {"c": 1}}, {"a": "1", "b": "3", "c": "2"})
    found = search(encoder, texts)
    assert found.best.tolist() == [[1, 2, 0]]
    assert found.ndcg == pytest.approx(1 / np.log2(3))


TOPICS = [
    "birds",
    "whales",
    "trains",
    "bread",
    "storms",
    "violins",
    "glaciers",
    "tomatoes",
    "chess",
    "vaccines",
    "rivers",
    "lanterns",
]


def collection(folder):
    """Write a test collection of a sentence or two on each topic, and a question on some of them."""
    (folder / "qrels").mkdir(parents=True)
    documents = [
        {
            "_id": topic,
            "title": topic,
            "text": f"What is known about {topic} is told in the {n}. chapter. " * (1 + n % 2),
        }
        for n, topic in enumerate(TOPICS)
    ]
    queries = [{"_id": f"q{n}", "text": f"where can I read about {TOPICS[n]}?"} for n in range(6)]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    judged = "".join(f"q{n}\t{TOPICS[n]}\t1\n" for n in range(6))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")


@pytest.mark.slow
def test_on_a_few_texts(tmp_path, monkeypatch):
    sides = {name: encoder_runtimes.SIDES[name] for name in ("PyTorch fp32", "PyTorch bf16", "ONNX Runtime fp32")}
    monkeypatch.setattr(encoder_runtimes, "SIDES", sides)
    for folder in (*encoder_runtimes.COLLECTIONS, encoder_runtimes.CALIBRATION):
        collection(tmp_path / folder)
    outcome = encoder_runtimes.measure(tmp_path, share=0.5, repeats=1)
    assert outcome.notes[0].endswith("SciFact 5 queries, 12 documents; NFCorpus 5 queries, 12 documents")
    rows = {row[0]: row for row in outcome.rows}
    assert {"PyTorch fp32", "PyTorch bf16"} <= set(rows)
    assert rows["PyTorch fp32"][3:6] == ["1.00000", "1.0000", "1.0000 (+0.0000)"]
    assert len(rows) == len(sides) - sum("left out" in note for note in outcome.notes)
    for of_collections in outcome.numbers["losses"].values():
        for each in of_collections:
            assert each["lowest_cosine"] > 0.999
            assert each["overlap"] > 0.9


@pytest.mark.slow
def test_cold_starts(tmp_path):
    outcome = cold_start.measure(tmp_path, repeats=1, encoded=3)
    assert [row[0] for row in outcome.rows][-2:] == ["retrieval search, dense", "retrieval search, hybrid"]
    for name, seconds in outcome.numbers["processor_seconds"].items():
        assert 0 < seconds[0] < 60, name
