"""Sparse vectors on the command line: an index with a sparse model, searched by it, described and encoded anew."""

from __future__ import annotations

import pytest

from retrieval.cli.health import check_index
from tests.encoders.conftest import save_buckets, save_splade


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return save_splade(root / "splade"), save_buckets(root / "buckets", binarise=True)


def test_an_index_with_a_sparse_model(cli, tmp_path, corpus, models):
    splade, buckets = models
    index = tmp_path / "my.index"
    options = ("--no-dense", "--sparse", splade, "--largest-weight", 3, "--long", "truncate", "--json")
    created = cli("index", index, corpus, *options)
    assert created.status == 0, created.err
    assert created.json["sparse_encoder"] == str(splade)
    assert (created.json["sparse_passages"], created.json["sparse_passages_encoded"]) == (4, 4)

    answer = cli("search", index, "read a file", "--mode", "sparse", "--json").json
    assert answer["mode"] == "sparse"
    assert answer["hits"][0]["score"] > 0
    both = cli("search", index, "read a file", "--sparse-weight", 1, "--json", "--explain").json
    assert both["mode"] == "hybrid"
    assert set(both["hits"][0]["explanation"]["ranks"]) <= {"bm25", "sparse"}
    assert cli("search", index, "read a file", "--mode", "dense").status == 2

    info = cli("info", index).out
    assert "impacts, 255 is 3" in info
    assert "bytes a document" in info
    assert "sparse passages  4" in info
    again = cli("index", index, corpus, "--sparse", splade, "--json").json
    assert (again["unchanged"], again["sparse_passages_encoded"]) == (4, 0)

    assert "needs MODEL" in cli("reencode", index, "--sparse").error
    assert "give --sparse as well" in cli("reencode", index, splade, "--largest-weight", 3).error
    assert cli("reencode", index, splade, "--sparse", "--largest-weight", 2.5).status == 0
    assert "impacts, 255 is 2.5" in cli("info", index).out
    encoded = cli("reencode", index, buckets, "--sparse")
    assert "4 sparse vectors" in encoded.out
    assert ", binary" in cli("info", index).out
    assert cli("verify", index).status == 0
    (finding,) = [finding for finding in check_index(index) if finding.name == "sparse encoder"]
    assert (finding.status, finding.detail) == ("ok", f"{buckets} loads, and is the one that made the vectors")
    assert cli("search", index, "read a file", "--mode", "sparse", "--json").json["hits"]


def test_what_an_index_is_cannot_be_changed_by_the_way(cli, tmp_path, corpus, lexical, models):
    splade, buckets = models
    assert "has no sparse vectors; leave --sparse out" in cli("index", lexical, corpus, "--sparse", splade).error
    index = tmp_path / "my.index"
    assert cli("index", index, corpus, "--no-dense", "--sparse", splade).status == 0
    assert "another sparse encoder" in cli("index", index, corpus, "--sparse", buckets).error
    wrong = cli("index", index, corpus, "--largest-weight", 2).error
    assert "created with --largest-weight 4.0, not 2.0" in wrong
    assert "no model 'embedded'" in cli("index", tmp_path / "x", corpus, "--no-dense", "--sparse", "embedded").error
