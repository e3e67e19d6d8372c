"""Tuning Birch: the grid, cross-validation against plain loops, and a planted rule that the right setting finds."""

from __future__ import annotations

import numpy as np
import pytest

from eval.errors import TuningError
from eval.measures import evaluate_run
from eval.testsets import TestSet
from eval.tuning import make_interpolations, tune_interpolation
from retrieval import Collection, Document, FunctionReranker
from retrieval.rerankers import BirchReranker, Interpolation

BIRDS = ["owl", "swift", "robin", "wren", "kite", "heron", "stork"]


def exclamations(query, texts):
    """What is relevant in a sentence is not in its words, so that BM25 does not see it."""
    return [0.5 * (query in text) + 0.5 * text.endswith("!") for text in texts]


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Of each bird ten documents; those with an exclamation about the bird are relevant, and not the best for BM25."""
    made = Collection.create(tmp_path_factory.mktemp("interpolation") / "c", encoder=None)
    rows = []
    for bird in BIRDS:
        for number in range(10):
            sentences = [f"The {bird} sleeps."] * (1 + number % 5) + ["Nothing here."] * (number % 3)
            sentences.append(f"See the {bird}!" if number % 4 == 1 else f"See the {bird}.")
            rows.append(Document(f"{bird}{number}", " ".join(sentences)))
    made.add(rows)
    return made


@pytest.fixture(scope="module")
def testset():
    qrels = {f"q-{bird}": {f"{bird}{number}": 1 for number in (1, 5, 9)} for bird in BIRDS}
    return TestSet("birds", "dev", {f"q-{bird}": bird for bird in BIRDS}, qrels)


def searched(collection, testset, interpolation, measure):
    """Value by query id of a real search."""
    rerankers = {"birch": BirchReranker(FunctionReranker(exclamations), interpolation)}
    found = collection.search_many(list(testset.queries.values()), 10, stages="bm25:50,birch:50", rerankers=rerankers)
    run = {name: [(hit.id, hit.score) for hit in results] for name, results in zip(testset.queries, found, strict=True)}
    values = evaluate_run(run, testset.qrels, [measure]).per_query
    return {name: values[name][measure] for name in testset.queries}


def test_the_grid():
    assert make_interpolations((0.5,), (0.0, 1.0)) == [
        Interpolation(0.5, weights) for weights in ((1, 0, 0), (1, 1, 0), (1, 1, 1))
    ]
    assert make_interpolations((1.0, 0.0), (0.5,), 2) == [Interpolation(0.0, (1, 0.5)), Interpolation(1.0, (1, 0))]
    assert len(make_interpolations()) == 10 * 15 + 1


def test_values_are_those_of_real_searches_and_folds_choose_on_other_queries(collection, testset):
    grid = make_interpolations((0.0, 0.4, 1.0), (0.0, 1.0))
    reranker = BirchReranker(FunctionReranker(exclamations))
    report = tune_interpolation(
        collection, testset, "bm25:50", reranker, "AP", grid=grid, folds=3, seed=4, batch_size=2
    )
    table = {setting: searched(collection, testset, setting, "AP") for setting in grid}
    for setting, mean in report.settings.items():
        assert mean == pytest.approx(np.mean(list(table[setting].values())))
    assert report.best == max(grid, key=lambda setting: np.mean(list(table[setting].values())))
    assert sorted(name for fold in report.folds for name in fold.queries) == sorted(testset.queries)
    assert [len(fold.queries) for fold in report.folds] == [3, 2, 2]
    for fold in report.folds:
        others = [name for name in testset.queries if name not in fold.queries]
        best = max(grid, key=lambda setting: np.mean([table[setting][name] for name in others]))
        assert fold.interpolation == best
        assert fold.value == pytest.approx(np.mean([table[best][name] for name in fold.queries]))
        assert all(report.per_query[name] == table[best][name] for name in fold.queries)
    assert report.value == pytest.approx(np.mean(list(report.per_query.values())))
    assert report.first_stage == pytest.approx(report.settings[Interpolation(1.0, (1, 0, 0))])
    again = tune_interpolation(collection, testset, "bm25:50", reranker, "AP", grid=grid, folds=3, seed=4)
    assert again == report


def test_a_planted_rule_is_found(collection, testset):
    """One exclamation tells: the best sentence decides, and the others only blur it."""
    report = tune_interpolation(collection, testset, "bm25:50", BirchReranker(FunctionReranker(exclamations)), "AP")
    assert report.value == pytest.approx(1.0)
    assert report.first_stage < 0.7
    assert report.best.first < 1


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"stages": "bm25:50,mono:5"}, "give the first stage alone, 'bm25:50', not 'bm25:50,mono:5'"),
        ({"folds": 1}, "1 folds and 7 queries"),
        ({"folds": 8}, "8 folds and 7 queries"),
        ({"grid": []}, "not 0 settings"),
    ],
)
def test_what_cannot_be_tuned(changed, message, collection, testset):
    reranker = BirchReranker(FunctionReranker(exclamations))
    with pytest.raises(TuningError, match=message):
        tune_interpolation(collection, testset, **{"stages": "bm25:50", "reranker": reranker, **changed})
