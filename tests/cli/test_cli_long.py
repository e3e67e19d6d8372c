"""Long documents on the command line: how they become passages, and what a document scores by them."""

from __future__ import annotations

import pytest

from retrieval import Aggregation, Collection
from tests.retrieval.conftest import tiny_model

__all__ = ["tiny_model"]

SENTENCES = "a query is a word of the model. the search engine is in the document. to retrieval of the word."


@pytest.fixture
def long_corpus(write_lines):
    """Two documents longer than the encoder reads, and a short one."""
    rows = [
        {"id": f"d{number}", "text": f"the {word}. {SENTENCES} {word} {SENTENCES}"} for number, word in enumerate("ab")
    ]
    return write_lines([*rows, {"id": "short", "text": "the search engine"}], "long.jsonl")


@pytest.fixture
def late(cli, tmp_path, long_corpus, tiny_model):
    """The path of an index with late chunking."""
    assert cli("index", tmp_path / "late.index", long_corpus, "--encoder", tiny_model(), "--long", "late").status == 0
    return tmp_path / "late.index"


def test_late_chunking(cli, tmp_path, late, long_corpus, tiny_model):
    with Collection.open(late) as collection:
        assert collection.settings.long.policy == "late"
        assert collection.stats()["segments"][0]["passages"] > 10
    again = cli("index", late, long_corpus, "--long", "chunk")
    assert again.status == 2
    assert "was created with --long late, not chunk" in again.error
    out = cli("index", tmp_path / "x.index", long_corpus, "--encoder", tiny_model(), "--long", "late").out
    assert "2 documents longer than a passage, split into passages that are encoded within their text" in out


def test_late_chunking_with_another_pooling_is_refused(cli, tmp_path, long_corpus, tiny_model):
    done = cli("index", tmp_path / "x.index", long_corpus, "--encoder", tiny_model(pooling="cls"), "--long", "late")
    assert done.status == 2
    assert "its pooling is 'cls', not 'mean'" in done.error
    assert not (tmp_path / "x.index").exists()


@pytest.mark.parametrize(
    ("options", "aggregate"),
    [
        (["--aggregate", "first"], Aggregation("first")),
        (["--aggregate", "mean"], Aggregation("mean")),
        (["--aggregate", "mean", "--best", "2"], Aggregation("mean", best=2)),
        (["--aggregate", "decayed", "--decay", "0.9"], Aggregation("decayed", decay=0.9)),
    ],
    ids=str,
)
def test_aggregates_are_those_of_the_library(cli, late, options, aggregate):
    found = cli("search", late, "retrieval of a word", "--mode", "dense", "--json", "--explain", *options).json["hits"]
    with Collection.open(late) as collection:
        expected = collection.search("retrieval of a word", mode="dense", aggregate=aggregate)
        assert [(hit["id"], hit["score"]) for hit in found] == [(hit.id, hit.score) for hit in expected]
        assert [hit["explanation"] for hit in found] == [hit.explain().as_dict() for hit in expected]
        plain = collection.search("retrieval of a word", mode="dense")
        assert [hit["score"] for hit in found] != plain.scores.tolist()


def test_explain_shows_the_passages_that_counted(cli, late):
    out = cli("search", late, "search engine", "--mode", "dense", "--aggregate", "mean", "--explain").out
    assert out.count("counted (mean): passage") == 3 + 3 + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--best", "2"], "--best is of --aggregate mean"),
        (["--aggregate", "mean", "--decay", "0.5"], "--decay is of --aggregate decayed"),
        (["--aggregate", "mean", "--best", "0"], "best must be a whole number, at least 1, not 0"),
        (["--aggregate", "decayed", "--decay", "2"], "decay must be between 0 and 1, not 2.0"),
        (["--aggregate", "first", "--mode", "bm25"], "aggregate 'first' is of passages with vectors, and mode 'bm25'"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused(cli, late, options, message):
    done = cli("search", late, "search engine", *options)
    assert done.status == 2
    assert message in done.error
