"""The results table: every number of results.json, the best in bold, references with their differences."""

from __future__ import annotations

from eval.references import DATASETS, SYSTEMS
from eval.results_table import markdown


def row(system, ndcg, reference=None, latency=None):
    return {
        "system": system,
        "measures": {"nDCG@10": ndcg, "R@100": 0.5},
        "reference": reference,
        "latency_ms": latency,
    }


def test_table():
    entry = {
        "documents": 5183,
        "passages": 9000,
        "queries": 300,
        "split": "test",
        "bm25_default": {"k1": 1.2, "b": 0.75},
        "machine": {"processor": "a processor", "cores": 2},
        "versions": {"python": "3.11", "torch": "2"},
        "rows": [
            row("BM25", 0.68),
            row("dense, truncate", 0.6441, {"nDCG@10": 0.6451, "source": "somebody", "tolerance": 0.003}),
            row("dense, chunk", 0.6, {"nDCG@10": 0.6451, "source": "somebody", "tolerance": 0.003}),
            row("hybrid", 0.7, {"nDCG@10": 0.69, "source": "another", "tolerance": None}, {"p50": 1.23, "p95": 4.56}),
        ],
    }
    text = markdown({"scifact": entry}, {"ties": "as they are"})
    assert "| BM25 (default: k1=1.2 b=0.75) | 0.6800 | **0.5000** |  |  |  |  |" in text
    assert "| dense, truncate | 0.6441 | **0.5000** |  |  | 0.6451 [1] | -0.0010 |" in text
    assert "| dense, chunk | 0.6000 | **0.5000** |  |  | 0.6451 [1] | -0.0451 (outside) |" in text
    assert "| hybrid | **0.7000** | **0.5000** | 1.2 | 4.6 | 0.6900 [2] | +0.0100 |" in text
    assert "[1] somebody; tolerance 0.003" in text
    assert "[2] another" in text
    assert "5,183 documents (9,000 passages), 300 judged queries (test)" in text
    assert "- ties: as they are" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_references_belong_to_systems():
    names = {system.name for system in SYSTEMS}
    assert len(names) == len(SYSTEMS)
    for dataset in DATASETS:
        assert set(dataset.references) <= names
