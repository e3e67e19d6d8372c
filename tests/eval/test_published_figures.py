"""Published figures on real collections, measured here; and the committed table keeps to them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import eval.reproduce
from eval.references import BM25_DEFAULT, BM25_SMALL, DENSE_CHUNK, DENSE_TRUNCATE, HYBRID_RRF
from eval.runner import evaluate_collection
from eval.testsets import read_testset
from indexes.bm25 import BM25Settings
from retrieval import Collection

SMALL = BM25Settings(k1=0.9, b=0.4)
BM25_FLOORS = [
    ("scifact", None, 0.675),
    ("nfcorpus", None, 0.318),
    ("vaswani", SMALL, 0.44),
    ("cranfield", SMALL, 0.36),
]
DENSE = {"scifact": 0.6451, "nfcorpus": 0.3159}
TOLERANCE = 0.003


def build(folder, path, **settings):
    testset = read_testset(folder)
    collection = Collection.create(path, **settings)
    collection.upsert(testset.corpus)
    return collection, testset


def ndcg(collection, testset, **options):
    report = evaluate_collection(collection, testset, ["nDCG@10"], latency_sample=0, **options)
    assert report.mode == options["mode"]
    # Two documents of Cranfield have neither title nor text, so they are not indexed; one of them is relevant.
    assert report.unknown_documents == (1 if testset.name == "cranfield" else 0)
    return report.measures["nDCG@10"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings", "floor"), BM25_FLOORS, ids=[name for name, _, _ in BM25_FLOORS])
def test_bm25_floors(data, tmp_path, name, settings, floor):
    collection, testset = build(data / name, tmp_path / "index", encoder=None)
    assert ndcg(collection, testset, mode="bm25", bm25=settings) >= floor


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
def test_dense_and_hybrid(data, tmp_path, name):
    collection, testset = build(data / name, tmp_path / "index", long="truncate")
    dense = ndcg(collection, testset, mode="dense")
    assert dense == pytest.approx(DENSE[name], abs=TOLERANCE)
    assert ndcg(collection, testset, mode="hybrid") >= max(dense, ndcg(collection, testset, mode="bm25"))


@pytest.fixture(scope="module")
def committed():
    path = Path(eval.reproduce.__file__).with_name("results.json")
    if not path.exists():
        pytest.skip(f"no {path.name} yet: python -m eval.reproduce")
    results = msgspec.json.decode(path.read_bytes())
    return {
        name: {row["system"]: row["measures"]["nDCG@10"] for row in entry["rows"]} for name, entry in results.items()
    }


def test_committed_table_reaches_what_is_published(committed):
    for name, value in DENSE.items():
        rows = committed[name]
        assert rows[DENSE_TRUNCATE] == pytest.approx(value, abs=TOLERANCE)
        assert rows[HYBRID_RRF] >= max(rows[BM25_DEFAULT], rows[DENSE_CHUNK])
    for name, settings, floor in BM25_FLOORS:
        assert committed[name][BM25_DEFAULT if settings is None else BM25_SMALL] >= floor


def test_committed_table_is_made_from_the_committed_results(committed):
    folder = Path(eval.reproduce.__file__).parent
    results = msgspec.json.decode((folder / "results.json").read_bytes())
    from eval.measures import Policies
    from eval.results_table import markdown

    assert (folder / "RESULTS.md").read_text(encoding="utf-8") == markdown(results, Policies().describe())
    assert set(committed) >= {"scifact", "nfcorpus", "vaswani", "cranfield"}
