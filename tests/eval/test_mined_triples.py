"""Triples out of what a reranker puts near the top: no positives, none from behind the window, the same again."""

from __future__ import annotations

import json

import pytest

from eval.experiments.mined_triples import mined_triples
from retrieval.rerankers import FunctionReranker

PASSAGES = {"a": "owl night", "b": "owl owl day", "c": "owl owl owl wood", "d": "owl bird of the night", "e": "kite"}
QUERIES = {"1": "owl", "2": "kite owl"}
QRELS = {"1": ["c"], "2": ["e", "a"]}


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "set"
    place.mkdir()
    lines = {
        "collection.tsv": [f"{name}\t{text}" for name, text in PASSAGES.items()],
        "queries.train.tsv": [f"{name}\t{text}" for name, text in QUERIES.items()],
        "qrels.train.tsv": [f"{query}\t0\t{name}\t1" for query, names in QRELS.items() for name in names],
    }
    for file, content in lines.items():
        (place / file).write_text("".join(f"{line}\n" for line in content), encoding="utf-8")
    return place


def by_length(query, texts):
    return [float(len(text)) for text in texts]


def mined(folder, tmp_path, **settings):
    given = {"n_queries": 2, "depth": 5, "window": (0, 3), "negatives": 1, "seed": 0} | settings
    reranker = FunctionReranker(by_length, "length")
    file = mined_triples(folder, reranker, tmp_path / "work" / "triples.jsonl", **given)
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_negatives_are_the_rerankers_best(folder, tmp_path):
    triples = mined(folder, tmp_path, window=(0, 2))
    found = {(each["query"], each["positive"], each["negative"]) for each in triples}
    # By length: d, c, b, a; the positive c leaves d of the best two; of the second query d alone is no positive there.
    assert {each for each in found if each[0] == "owl"} == {("owl", PASSAGES["c"], PASSAGES["d"])}
    assert {each[1] for each in found if each[0] == "kite owl"} == {PASSAGES["e"], PASSAGES["a"]}
    assert {each[2] for each in found if each[0] == "kite owl"} <= {PASSAGES["d"], PASSAGES["c"]}


def test_a_file_that_is_there_is_kept(folder, tmp_path):
    first = mined(folder, tmp_path)
    assert mined(folder, tmp_path, n_queries=1) == first
