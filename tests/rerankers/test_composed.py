"""Rerankers out of a file: the same scores as those put together in Python, by name on the command line."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval import Collection, Document, load_reranker
from retrieval.errors import RerankerError
from retrieval.rerankers import Candidates
from retrieval.rerankers.bert_qe import BertQE, Expansion
from retrieval.rerankers.birch import BirchReranker, Interpolation
from retrieval.rerankers.query_routing import QueryRoutingReranker
from retrieval.rerankers.routing import Calibration, RoutingReranker
from tests.rerankers.conftest import save_classifier

TEXTS = ["the search engine", "a document. a query of words", "the query ranks the document", "words"]
CANDIDATES = [Candidates([f"d{n}" for n in range(4)], TEXTS, np.array([4.0, 3.0, 2.0, 1.0]))]
QUERIES = ["a query of the engine"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("small", "large")):
        save_classifier(place / name, seed=seed)
    return place


def composed(folder, text):
    file = folder / "reranker.toml"
    file.write_text(text, encoding="utf-8")
    return load_reranker(file)


@pytest.mark.parametrize(
    ("text", "make"),
    [
        (
            'kind = "routing"\nswift = "small"\nsuper = "large"\nthreshold = 0.6\nby = "entropy"\n',
            lambda small, large: RoutingReranker(small, large, 0.6, by="entropy"),
        ),
        (
            'kind = "routing"\nswift = "small"\nsuper = "large"\nthreshold = -inf\ncalibration = [2, 1.5]\n',
            lambda small, large: RoutingReranker(small, large, -np.inf, calibration=Calibration(2.0, 1.5)),
        ),
        (
            'kind = "query-routing"\nswift = "small"\nsuper = {model = "large", batch_tokens = 64}\nthreshold = 0.2\n'
            "depth = 4\n",
            lambda small, large: QueryRoutingReranker(small, large, 0.2, depth=4),
        ),
        (
            'kind = "birch"\nreranker = "large"\nfirst = 0.3\nweights = [1, 0.25]\nnormalisation = "z-score"\n',
            lambda _, large: BirchReranker(large, Interpolation(0.3, (1, 0.25)), normalisation="z-score"),
        ),
        (
            'kind = "bert-qe"\nreranker = "large"\nfeedback_reranker = "small"\nweight = 0.7\n'
            "documents = 2\nchunks = 3\n",
            lambda small, large: BertQE(large, Expansion(weight=0.7, documents=2, chunks=3), feedback_reranker=small),
        ),
    ],
    ids=["routing", "calibrated", "query-routing", "birch", "bert-qe"],
)
def test_a_file_composes_what_python_does(folder, text, make):
    expected = make(load_reranker(folder / "small"), load_reranker(folder / "large"))
    found = composed(folder, text)
    assert found.identity() == expected.identity()
    np.testing.assert_allclose(found.score(QUERIES, CANDIDATES)[0], expected.score(QUERIES, CANDIDATES)[0], atol=1e-5)


def test_a_file_may_name_another_one_and_searches_by_name(folder, tmp_path):
    (folder / "routed.toml").write_text('kind = "routing"\nswift = "small"\nsuper = "large"\nthreshold = inf\n')
    nested = composed(folder, 'kind = "query-routing"\nswift = "routed.toml"\nsuper = "large"\nthreshold = inf\n')
    with Collection.create(tmp_path / "index", encoder=None) as collection:
        collection.add(Document(f"d{n}", text) for n, text in enumerate(TEXTS))
        stages = "bm25:4,mono:4"
        expected = collection.search("query words", stages=stages, rerankers={"mono": load_reranker(folder / "small")})
        found = collection.search("query words", stages=stages, rerankers={"mono": nested})
    assert [(hit.id, hit.score) for hit in found] == [(hit.id, pytest.approx(hit.score)) for hit in expected]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = routing", "is no TOML"),
        ('swift = "small"', "needs a kind: one of routing, query-routing, birch, bert-qe"),
        (
            'kind = "routing"\nswift = "small"\nsuper = "large"\nlevel = 1',
            "has the key 'level'; there are swift",
        ),
        ('kind = "routing"\nswift = "small"', "has no 'super'"),
        ('kind = "routing"\nswift = "small"\nsuper = "large"', "a threshold is missing"),
        ('kind = "routing"\nswift = "small"\nsuper = "large"\nthreshold = "high"', "a threshold is a number"),
        ('kind = "routing"\nswift = 3\nsuper = "large"\nthreshold = 1', "swift is 3; give the folder or name"),
        ('kind = "routing"\nswift = "reranker.toml"\nsuper = "large"\nthreshold = 1', "swift is the file itself"),
        ('kind = "birch"\nreranker = "large"\nfirst = 2', "the first stage counts 0 to 1, not 2"),
        ('kind = "routing"\nswift = "small"\nsuper = "large"\nthreshold = 1\ncalibration = [1]', "reranker.toml"),
        ('kind = "birch"\nreranker = {model = "large", colour = 1}', "'colour' is no setting"),
        ('kind = "birch"\nreranker = {model = "large", specification = "small"}', "specification"),
        ('kind = "birch"\nreranker = ""', "reranker is ''; give the folder or name"),
        ('kind = "birch"\nreranker = "nowhere/at-all"', "nowhere/at-all"),
        ('kind = "query-routing"\nswift = "small"\nsuper = "large"\nthreshold = 1\ndepth = 2.5', "depth is 2.5"),
    ],
)
def test_what_cannot_be_composed_is_said(folder, text, words):
    with pytest.raises(RerankerError) as refused:
        composed(folder, text)
    assert words in str(refused.value)
    assert "reranker.toml" in str(refused.value)


def test_files_that_name_each_other_are_refused(folder):
    for name, other in (("one", "two"), ("two", "one")):
        (folder / f"{name}.toml").write_text(f'kind = "birch"\nreranker = "{other}.toml"\n', encoding="utf-8")
    with pytest.raises(RerankerError, match=r"\.toml is made of itself"):
        load_reranker(folder / "one.toml")


def test_settings_go_to_the_parts(folder):
    (folder / "reranker.toml").write_text('kind = "birch"\nreranker = "large"\n')
    with pytest.raises(RerankerError, match="'precision' is no setting of a composed reranker"):
        load_reranker(folder / "reranker.toml", precision="bf16")
