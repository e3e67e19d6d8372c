"""The study of pseudo-relevance feedback: what it compares, and what it calls significant."""

from __future__ import annotations

import pytest

from eval.experiments.studies.pseudo_relevance_feedback import kept_by_holm, measure
from eval.testsets import TestSet
from retrieval import Collection, Document


def test_holm_by_hand():
    """0.005 <= 0.05 / 4 and 0.01 <= 0.05 / 3, but 0.03 > 0.05 / 2."""
    assert kept_by_holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert kept_by_holm([0.04]) == [True]
    assert kept_by_holm([0.04, 0.04]) == [False, False]
    assert kept_by_holm([]) == []


@pytest.mark.parametrize(("name", "expected"), [("toy", [1.0, 0.0]), ("msmarco-dl19", [0.0, 0.0])])
def test_systems_are_measured_query_by_query_and_compared_with_the_first(tmp_path, name, expected):
    """Of the first query the one document found has grade 1, which TREC DL does not take for relevant."""
    collection = Collection.create(tmp_path / "c", encoder=None)
    collection.add([Document("1", "owl"), Document("2", "swift"), Document("3", "robin")])
    testset = TestSet(name, "test", {"a": "owl", "b": "swift"}, {"a": {"1": 1}, "b": {"3": 2}})
    plain, fed_back = measure(collection, testset, testset.queries, ["bm25", "bm25(rm3)"])
    assert plain.values["AP@1000"] == expected
    assert plain.differences == {}
    assert set(fed_back.differences) == {"nDCG@10", "AP@1000"}
    assert fed_back.differences["nDCG@10"].n == 2
    assert plain.mean("nDCG@10") == 0.5
