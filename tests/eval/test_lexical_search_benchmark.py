"""The BM25 search benchmark: its queries, its collections, its clocks, and all of it on a tiny collection."""

from __future__ import annotations

import gzip

import msgspec
import numpy as np
import pytest

from eval.benchmarks import lexical_search
from eval.benchmarks.documentation_passages import documentation_passages
from eval.benchmarks.in_turn import in_turn, latencies, percentiles, times_slower
from eval.benchmarks.peers.engine_lexical import SEGMENTS, EngineCollection
from eval.benchmarks.peers.installed import PEERS, missing, peer_versions
from eval.benchmarks.peers.lexical import Texts, default_analyser
from eval.benchmarks.processes import Spread, n_cores
from eval.benchmarks.query_spans import query_spans
from eval.benchmarks.text_collections import TextCollection, text_collection
from eval.errors import EvaluationError, ReproductionError

TEXTS = [f"swift number {number} sleeps on the wing above old town {number % 7}" for number in range(40)]


def test_queries_are_spans_of_the_wanted_length():
    queries = query_spans(TEXTS, 50, (2, 4), seed=5)
    assert len(queries) == 50
    assert {len(query.split()) for query in queries} == {2, 3, 4}
    assert all(any(query in text for text in TEXTS) for query in queries)
    assert queries == query_spans(TEXTS, 50, (2, 4), seed=5)
    assert queries != query_spans(TEXTS, 50, (2, 4), seed=6)


def test_queries_that_are_refused_are_drawn_again():
    assert set(query_spans(TEXTS, 5, (1, 1), lambda query: query == "swift")) == {"swift"}
    with pytest.raises(EvaluationError, match="found 0 spans of 11 to 30 words, not 5"):
        query_spans(["short"] * 3, 5, (11, 30))


def test_passages_are_cut_from_text_and_html_but_not_from_change_logs(tmp_path):
    words = [f"w{number}" for number in range(25)]
    (tmp_path / "a").mkdir()
    with gzip.open(tmp_path / "a" / "README.gz", "wt") as file:
        file.write(" ".join(words))
    (tmp_path / "b.html").write_text(
        "<html><head><title>T</title></head><body><p>one two <b>three</b></p></body></html>"
    )
    (tmp_path / "changelog.txt").write_text(" ".join(words))
    (tmp_path / "broken.gz").write_bytes(b"not gzip")
    (tmp_path / "picture.png").write_bytes(b"words words words")
    (tmp_path / "binary").write_bytes(b"words\0words words")
    passages = list(documentation_passages(tmp_path, n_words=10, shortest=4))
    assert passages == [" ".join(words[:10]), " ".join(words[10:20]), " ".join(words[20:]), "T one two three"]


def test_collections_of_texts(tmp_path):
    synthetic = text_collection("synthetic", 5, tmp_path)
    assert len(synthetic.texts.texts) == 5
    assert synthetic.texts.ids == ["0", "1", "2", "3", "4"]
    with pytest.raises(EvaluationError, match="needs a folder"):
        text_collection("documentation", 5, tmp_path)
    with pytest.raises(EvaluationError, match="no text to cut"):
        text_collection("documentation", 5, tmp_path, tmp_path)
    with pytest.raises(EvaluationError, match="unknown collection 'other'"):
        text_collection("other", 5, tmp_path)


def test_a_real_collection_brings_its_queries(data):
    found = text_collection("wordnet-senses", 100, data)
    assert len(set(found.texts.ids)) == len(found.texts.texts) == 100
    judged = (data / "wordnet-senses" / "qrels" / "test.tsv").read_text().splitlines()[1:]
    assert len(found.own_queries) == len({line.split("\t")[0] for line in judged}) > 900


def test_sides_take_turns():
    order = []
    seconds = in_turn({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, repeats=3)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert {side: len(times) for side, times in seconds.items()} == {"a": 3, "b": 3}
    counted = []
    shortest = latencies({"a": [lambda: counted.append(0), lambda: counted.append(1)]}, repeats=2)
    assert counted == [0, 1, 0, 1]
    assert shortest["a"].shape == (2,)
    assert (shortest["a"] >= 0).all()


def test_ratios_and_percentiles():
    assert times_slower([3.0, 8.0], [1.0, 2.0]) == Spread(3.5, 3.0, 4.0)
    assert percentiles(np.arange(101) / 1000) == {"p50": pytest.approx(50), "p99": pytest.approx(99)}


def test_peers_are_named_with_what_installs_them(monkeypatch):
    monkeypatch.setitem(PEERS, "nothing", ("no-such-distribution", "no_such_module"))
    assert missing("nothing") == (
        "nothing is left out: it is not installed (pip install '.[peers]', which has no-such-distribution)"
    )
    assert missing("faiss") is None
    assert "faiss-cpu" in peer_versions()
    assert "no-such-distribution" not in peer_versions()


def test_the_collection_of_several_segments_has_tombstones(tmp_path):
    texts = Texts([str(number) for number in range(len(TEXTS))], TEXTS)
    EngineCollection.build_segments(tmp_path / "index", texts, ["3", "8"])
    left = Texts([name for name in texts.ids if name not in ("3", "8")], [TEXTS[0]] * 38)
    side = EngineCollection(tmp_path / "index", left, 1)
    assert side.n_segments == SEGMENTS
    assert sorted(map(int, side.search_one("swift", 100))) == [number for number in range(40) if number not in (3, 8)]
    assert side.search(["swift", "nothing"], 100) == [side.search_one("swift", 100), []]
    assert [len(scores) for scores in side.scores(["swift", "nothing"], 5)] == [5, 0]


@pytest.mark.slow
def test_the_benchmark_checks_and_times_every_side(tmp_path):
    ids = [str(number) for number in range(400)]
    texts = [f"{TEXTS[number % 40]} seen by observer {number // 3} of the club" for number in range(400)]
    collection = TextCollection("tiny", Texts(ids, texts), ["swift above town", "of the"])
    outcomes = lexical_search.measure(collection, n_queries=6, ks=(10, 1000), repeats=2, slow=1)
    assert [outcome.numbers["threads"] for outcome in outcomes] == ([1, n_cores()] if n_cores() > 1 else [1])
    first = outcomes[0]
    assert len(first.rows) == 2 * 2 * 4  # states, ks, lengths with the collection's own queries
    assert first.numbers["segments"]["segments"]["ours"] == SEGMENTS
    assert (first.numbers["texts"], first.numbers["living"]) == (400, 380)
    for batch in first.numbers["batches"]:
        assert all(len(times) == 2 and min(times) > 0 for times in batch["seconds"].values())
        assert {"ours", "bm25s"} <= set(batch["seconds"])
        assert batch["k"] in (10, 380, 400)
    assert all(0 <= check["largest_difference"] < 1e-4 for check in first.numbers["checks"])
    if missing("tantivy") is None:
        assert all(check["tantivy_overlap"] > 0.5 for check in first.numbers["checks"])
    assert len(first.numbers["slow"]) == 4
    assert msgspec.json.decode(first.to_json())["numbers"]["collection"] == "tiny"


def test_differing_scores_are_an_error():
    found = {"checks": [{"largest_difference": 0.01}]}
    with pytest.raises(ReproductionError, match=r"differ from bm25s's \(by 0\.01\)"):
        lexical_search._outcome("tiny", found, {})
    found = {"checks": [{"largest_difference": -1.0}]}
    with pytest.raises(ReproductionError, match="not of the same length"):
        lexical_search._outcome("tiny", found, {})


def test_queries_without_terms_are_not_asked():
    collection = TextCollection("tiny", Texts(["a"], ["the swift of town"]), ["of the", "swift"])
    queries = lexical_search._queries(collection, 4)
    assert set(queries) == {"2-4", "own"}
    assert queries["own"] == ["swift"]
    assert all(default_analyser().terms(query) for query in queries["2-4"])
