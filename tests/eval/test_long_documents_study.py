"""The study of long documents on a handful of made-up ones: every way and aggregate gets a row, from stored vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eval.experiments.options import Options
from eval.experiments.studies import long_documents
from tests.retrieval.conftest import tiny_model

__all__ = ["tiny_model"]

TOPICS = ["trains", "birds", "music"]


def write_testset(folder: Path) -> None:
    """Write documents of some 700 words, each with its topic near the end, and a query for each."""
    (folder / "qrels").mkdir(parents=True)
    filler = "the committee talked about the agenda of the day and about what was said before. " * 45
    documents = [
        {"_id": f"d{n}", "text": f"{filler} they spoke of {topic} and {topic}. {filler[:80]}"}
        for n, topic in enumerate(TOPICS)
    ]
    queries = [{"_id": f"q{n}", "text": f"what was said of {topic}"} for n, topic in enumerate(TOPICS)]
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\td{n}\t1" for n in range(len(TOPICS)))]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_rows(tmp_path, tiny_model):
    write_testset(tmp_path / "data" / "qmsum-longdoc")
    write_testset(tmp_path / "data" / "qmsum-longdoc" / "extra35")
    options = Options(tmp_path / "data", tmp_path / "work", models={"tiny": tiny_model(max_tokens=64)})
    ladder, published = long_documents.run(options)
    names = [row[0] for row in ladder.rows]
    assert names[:3] == ["BM25", "truncated at 256", "passages of 256, best passage"]
    assert "late, passages of 128 in windows of 512, mean of best 3" in names
    assert "tiny, truncated at its limit" in names
    assert len(names) == len(set(names)) == 1 + 1 + 3 * 7 + 1 + 7
    assert ladder.numbers["BM25"]["nDCG@10"] == 1
    # What stands behind the cut cannot be found; passages have it.
    assert ladder.numbers["truncated at 256"]["nDCG@10"] < 1
    assert ladder.numbers["passages of 256, best passage"]["nDCG@10"] == 1
    assert published.numbers["found"]["BM25"] == 1
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.npy")}
    again = long_documents.run(options)
    assert [outcome.rows for outcome in again] == [ladder.rows, published.rows]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.npy")} == before
