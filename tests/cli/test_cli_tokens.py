"""Stored states on the command line: an index with a late-interaction network, searched by it and described."""

from __future__ import annotations

import os

import pytest

from retrieval.cli.health import check_index
from retrieval.rerankers import load_reranker
from tests.rerankers.two_sided import WordNetwork, WordReranker, max_sim

STAGES = ("--stages", "bm25:10,words:5")


@pytest.fixture
def models(tmp_path, monkeypatch):
    """The folders of two networks, and what loads them as a folder of any other kind is loaded."""

    def load(specification, **settings):
        if isinstance(specification, (str, os.PathLike)):
            return WordReranker(WordNetwork.load(specification), str(specification))
        return load_reranker(specification, **settings)

    monkeypatch.setattr("retrieval.rerankers.loading.load_reranker", load)
    folders = [tmp_path / "first", tmp_path / "second"]
    for seed, folder in enumerate(folders):
        WordNetwork(reads=6, seed=seed).save(folder)
    return folders


def test_an_index_with_stored_states(cli, tmp_path, corpus, documents, models):
    first, second = models
    index = tmp_path / "my.index"
    created = cli("index", index, corpus, "--no-dense", "--tokens", f"words={first}")
    assert created.status == 0, created.err
    assert "stored states of words (4 texts encoded)" in created.out
    assert "3 texts as long as a network of stored states reads, or longer" in created.out
    again = cli("index", index, corpus, "--tokens", f"words={first}", "--json").json
    assert (again["unchanged"], again["states_encoded"], again["states"]) == (4, 0, {"words": str(first)})

    answer = cli("search", index, "read a file", *STAGES, "--json", "--explain").json
    network = WordNetwork.load(first)
    texts = {one["id"]: f"{one.get('title', '')} {one['text']}".strip() for one in documents}
    for hit in answer["hits"]:
        assert hit["score"] == pytest.approx(max_sim(network, "read a file", texts[hit["id"]]), abs=1e-5)
        assert [stage["states"] for stage in hit["explanation"]["stages"]] == [False, True]
    assert [(stage["name"], stage["calls"], stage["states"]) for stage in answer["stages"]] == [
        ("bm25", 0, 0),
        ("words", 1, len(answer["hits"])),
    ]
    shown = cli("search", index, "read a file", *STAGES, "--explain").out
    assert "by stored states" in shown

    info = cli("info", index).out
    assert f"states words  {first}, 6 x float16 a token" in info
    assert "bytes a document" in info
    assert cli("info", index, "--json").json["tokens"]["words"]["documents"] == 4
    (finding,) = [finding for finding in check_index(index) if finding.name == "states words"]
    assert (finding.status, finding.detail) == ("ok", f"{first} loads, and is the one that made the states")

    encoded = cli("reencode", index, second, "--tokens", "words", "--token-storage", "int8")
    assert "states of 4 documents for words" in encoded.out
    assert f"{second}, 6 x int8 a token" in cli("info", index).out
    more = cli("reencode", index, first, "--tokens", "more", "--json").json
    assert (more["encoded"], sorted(more["tokens"])) == (4, ["more", "words"])
    assert cli("search", index, "file", "--stages", "bm25:10,words:5,more:2").status == 0
    assert cli("verify", index).status == 0
    assert cli("reencode", index, "--drop-tokens", "more").status == 0
    assert "no model for stage 'more'" in cli("search", index, "file", "--stages", "bm25:10,more:2").error


def test_what_makes_no_sense_is_one_line(cli, tmp_path, corpus, lexical, models):
    first, second = models
    assert (
        "stores no states of 'words'; leave --tokens words out"
        in cli("index", lexical, corpus, "--tokens", f"words={first}").error
    )
    index = tmp_path / "my.index"
    assert "write NAME=MODEL, as in --tokens" in cli("index", index, corpus, "--tokens", "words").error
    assert "give --tokens as well" in cli("index", index, corpus, "--token-storage", "int8").error
    assert "is a retriever" in cli("index", index, corpus, "--no-dense", "--tokens", f"bm25={first}").error
    assert cli("index", index, corpus, "--no-dense", "--tokens", f"words={first}").status == 0
    assert "another network" in cli("index", index, corpus, "--tokens", f"words={second}").error
    taken = cli("search", index, "file", *STAGES, "--reranker", f"words={first}").error
    assert "stores states of 'words'" in taken
    assert "--tokens needs MODEL" in cli("reencode", index, "--tokens", "words").error
    assert "exclude each other" in cli("reencode", index, first, "--tokens", "words", "--sparse").error
    assert "give --tokens as well" in cli("reencode", index, first, "--token-storage", "int8").error
    assert "--drop-tokens builds nothing" in cli("reencode", index, first, "--drop-tokens", "words").error
    assert "stores no states of 'more'; there are 'words'" in cli("reencode", index, "--drop-tokens", "more").error
