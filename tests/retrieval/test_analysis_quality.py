"""The terms are good for search: BM25 by an independent implementation (bm25s), measured by pytrec_eval."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import bm25s
import pytest
import pytrec_eval

from retrieval.analysis import Analyser, AnalyserSettings

Judgements = dict[str, dict[str, int]]


def read_texts(path: Path) -> dict[str, str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return {row["_id"]: f"{row.get('title', '')} {row['text']}".strip() for row in rows}


def read_judgements(path: Path) -> Judgements:
    judgements: Judgements = {}
    with path.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            judgements.setdefault(row["query-id"], {})[row["corpus-id"]] = int(row["score"])
    return judgements


def ndcg(folder: Path, terms: Callable[[str], list[str]], k1: float, b: float, language: str = "") -> float:
    """Return nDCG@10 over all judged queries of a test collection."""
    documents = read_texts(folder / f"corpus{language}.jsonl.gz")
    queries = read_texts(folder / f"queries{language}.jsonl.gz")
    judgements = read_judgements(folder / "qrels" / "test.tsv")
    index = bm25s.BM25(method="lucene", k1=k1, b=b)
    index.index([terms(text) for text in documents.values()], show_progress=False)
    ids = list(documents)
    run: dict[str, dict[str, float]] = {}
    for query in judgements:
        known = [term for term in terms(queries[query]) if term in index.vocab_dict]
        scores = index.get_scores(known) if known else []
        ranked = sorted(range(len(scores)), key=lambda row: (-scores[row], row))[:10]
        run[query] = {ids[row]: float(scores[row]) for row in ranked if scores[row] > 0}
    measured = pytrec_eval.RelevanceEvaluator(judgements, {"ndcg_cut.10"}).evaluate(run)
    return sum(values["ndcg_cut_10"] for values in measured.values()) / len(judgements)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "k1", "b", "floor"),
    [
        ("scifact", 1.2, 0.75, 0.675),
        ("scifact", 0.9, 0.4, 0.675),
        ("nfcorpus", 1.2, 0.75, 0.318),
        ("nfcorpus", 0.9, 0.4, 0.318),
        ("vaswani", 0.9, 0.4, 0.44),
        ("cranfield", 0.9, 0.4, 0.36),
    ],
)
def test_english_collections(data_folder, name, k1, b, floor):
    assert ndcg(data_folder(name), Analyser().terms, k1, b) >= floor


@pytest.mark.slow
@pytest.mark.parametrize(("language", "gain"), [("zh", 0.8), ("th", 0.7)])
def test_pairs_find_what_whole_runs_miss(data_folder, language, gain):
    folder = data_folder("xquad")
    with_pairs = ndcg(folder, Analyser(AnalyserSettings("none")).terms, 1.2, 0.75, f".{language}")
    whole_runs = Analyser(AnalyserSettings("none", character_bigrams=False))
    assert with_pairs >= 0.95
    assert with_pairs >= ndcg(folder, whole_runs.terms, 1.2, 0.75, f".{language}") + gain


@pytest.mark.slow
@pytest.mark.parametrize(("language", "gain"), [("de", 0.02), ("ru", 0.07), ("tr", 0.04), ("ar", 0.04)])
def test_stemming_helps(data_folder, language, gain):
    folder = data_folder("xquad")
    stemmed = ndcg(folder, Analyser(AnalyserSettings(language)).terms, 1.2, 0.75, f".{language}")
    plain = ndcg(folder, Analyser(AnalyserSettings("none")).terms, 1.2, 0.75, f".{language}")
    assert stemmed >= plain + gain
