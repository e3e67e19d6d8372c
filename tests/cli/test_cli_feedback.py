"""Feedback, expansions and term weights on the command line."""

from __future__ import annotations


def test_feedback_is_part_of_a_stage(cli, lexical):
    plain = cli("search", lexical, "read file", "--stages", "bm25:10", "--json").json
    found = cli("search", lexical, "read file", "--stages", "bm25(rm3, share=1):10", "--json", "--explain").json
    assert found["mode"] == "bm25(rm3, share=1.0):10"
    (used,) = found["hits"][0]["explanation"]["feedback"]
    assert used["retriever"] == "bm25(rm3, share=1.0)"
    assert used["documents"] == [hit["id"] for hit in plain["hits"]]
    assert {"read", "file"} < set(used["terms"])
    assert [stage["name"] for stage in found["stages"]] == ["bm25(rm3, share=1.0)"]
    shown = cli("search", lexical, "read file", "--stages", "bm25(rm3, share=1):10", "--explain").out
    assert "feedback bm25(rm3, share=1.0): documents " in shown
    wrong = cli("search", lexical, "read file", "--stages", "bm25(rm4):10")
    assert (wrong.status, wrong.error) == (2, "unknown feedback 'rm4' for 'bm25': 'rm3' or 'rocchio'")
    missing = cli("search", lexical, "read file", "--stages", "dense(average):10")
    assert "needs vectors" in missing.error


def test_expansions_find_documents_that_do_not_hold_the_word(cli, tmp_path, write_lines, documents):
    for row in documents:
        row["queries"] = ["how to parse tables"] if row["id"] == "csv.DictReader" else []
    corpus, index = write_lines(documents, "expanded.jsonl"), tmp_path / "expanded.index"
    options = ("--no-dense", "--expansion", "queries", "--expansion-boost", 0.5, "--distinct-expansions")
    assert cli("index", index, corpus, *options).status == 0
    (hit,) = cli("search", index, "parse", "--json", "--explain").json["hits"]
    assert hit["id"] == "csv.DictReader"
    assert hit["text"] == documents[0]["text"]
    assert hit["explanation"]["terms"][0]["frequency"] == 0.5
    assert cli("index", index, corpus, *options[1:], "--json").json["unchanged"] == 4
    wrong = cli("index", index, corpus, "--expansion-boost", 2)
    assert (wrong.status, "created with --expansion-boost 0.5, not 2.0" in wrong.error) == (2, True)


def test_weights_as_anserini_writes_them_are_scored_or_added_up(cli, tmp_path, write_lines):
    rows = [
        {"id": "1", "contents": "Swifts sleep in flight.", "vector": {"swifts": 98, "sleep": 71}},
        {"id": "2", "contents": "Owls sleep by day.", "vector": {"owls": 90, "sleep": 80}},
    ]
    corpus, deepct, impacts = write_lines(rows), tmp_path / "deepct.index", tmp_path / "impact.index"
    assert cli("index", deepct, corpus, "--no-dense", "--term-weights", "vector").status == 0
    found = cli("search", deepct, "swift sleep", "--k1", 10, "--b", 0.9, "--json").json["hits"]
    assert [hit["id"] for hit in found] == ["1", "2"]
    assert cli("index", impacts, corpus, "--no-dense", "--term-weights", "vector", "--impacts").status == 0
    found = cli("search", impacts, "swift sleep", "--json").json["hits"]
    assert [(hit["id"], hit["score"], hit["text"]) for hit in found] == [
        ("1", 169, "Swifts sleep in flight."),
        ("2", 80, "Owls sleep by day."),
    ]
    assert "adds up impacts" in cli("search", impacts, "sleep", "--k1", 1).error
    without = cli("index", impacts, write_lines([{"id": "3", "text": "no weights"}], "without.jsonl"))
    assert (without.status, "skipped    1 x unusable fields" in without.out) == (1, True)
    assert "metadata 'vector' must hold the weights" in without.out
    fractions = write_lines([{"id": "1", "text": "Swifts.", "vector": {"swifts": 0.98}}], "fractions.jsonl")
    strict = cli("index", impacts, fractions, "--strict")
    assert (strict.status, "create the collection with a weight_scale" in strict.error) == (2, True)
    assert "none: impacts are added up" in cli("info", impacts).out
    scaled = ("--no-dense", "--term-weights", "vector", "--weight-scale", 100, "--impacts")
    assert cli("index", tmp_path / "scaled.index", fractions, *scaled).status == 0
    assert cli("search", tmp_path / "scaled.index", "swift", "--json").json["hits"][0]["score"] == 98
