"""`retrieval search` and `retrieval similar`: for people, for machines, from standard input."""

from __future__ import annotations

import json

import pytest

from retrieval import Collection


def test_shows_rank_score_id_title_snippet_and_mode(cli, lexical):
    done = cli("search", lexical, "csv dictionaries")
    assert done.status == 0
    first, snippet, *_, last = done.out.splitlines()
    rank, score, *heading = first.split()
    assert (rank, *heading) == ("1", "csv.DictReader", "Dictionaries", "from", "CSV")
    assert float(score) > 0
    assert snippet.strip() == "Read rows of a csv file into dictionaries."
    assert last.startswith("1 hit in 4 documents, bm25 search (the index has no vectors), ")
    assert done.err == ""


def test_a_title_that_begins_with_the_id_goes_on_where_it_ends(cli, lexical):
    assert cli("search", lexical, "json").out.splitlines()[0].split()[2:] == ["json.load(fp)"]


def test_words_need_no_quotes(cli, lexical):
    together = cli("search", lexical, "read a file", "--json").json
    apart = cli("search", lexical, "read", "a", "file", "--json").json
    assert together["query"] == apart["query"] == "read a file"
    assert together["hits"] == apart["hits"]


def test_json_holds_the_whole_hit(cli, lexical):
    found = cli("search", lexical, "首都", "--json", "--explain").json
    assert found["mode"] == "bm25"
    assert found["documents"] == 4
    assert found["seconds"] > 0
    (hit,) = found["hits"]
    assert (hit["rank"], hit["id"], hit["title"], hit["text"]) == (1, "日本 東京", "", "東京は日本の首都です。")
    assert hit["metadata"] == {"year": 2022, "lang": "ja"}
    assert hit["explanation"]["terms"][0]["term"] == "首都"


def test_json_is_what_the_library_finds(cli, lexical):
    hits = cli("search", lexical, "read file document", "--json", "-k", "2").json["hits"]
    with Collection.open(lexical) as collection:
        expected = collection.search("read file document", 2)
    assert [(hit["id"], hit["score"]) for hit in hits] == [(hit.id, hit.score) for hit in expected]


def test_explain_names_terms_and_ranks(cli, lexical):
    out = cli("search", lexical, "csv", "--explain").out
    assert "bm25: rank 1" in out
    assert "'csv'" in out


def test_filters_apply_before_the_best_are_taken(cli, lexical):
    found = cli("search", lexical, "read file", "-k", "1", "--where", "year >= 2021", "--json").json
    assert [hit["id"] for hit in found["hits"]] == ["json.load"]
    as_json = cli("search", lexical, "read file", "--where", '{"year": {">=": 2021}}', "--json").json
    assert {hit["id"] for hit in as_json["hits"]} == {"json.load"}


def test_query_syntax_is_only_read_when_asked_for(cli, lexical):
    plain = cli("search", lexical, "--json", "--", "read -csv").json["hits"]
    parsed = cli("search", lexical, "--syntax", "query", "--json", "--", "read -csv").json["hits"]
    assert {hit["id"] for hit in plain} == {"csv.DictReader", "json.load"}
    assert {hit["id"] for hit in parsed} == {"json.load"}


def test_ranking_parameters_change_scores_and_are_checked(cli, lexical):
    default = cli("search", lexical, "csv", "--json").json["hits"][0]["score"]
    other = cli("search", lexical, "csv", "--k1", "0.5", "--b", "0", "--json").json["hits"][0]["score"]
    assert default != other
    for arguments in (["--b", "3"], ["--k1", "-1"], ["--dense-weight", "2"]):
        refused = cli("search", lexical, "csv", *arguments)
        assert refused.status == 2
        assert refused.error


# --- standard input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_each_line_of_standard_input_is_a_query(cli, lexical, arguments):
    done = cli("search", lexical, *arguments, "--json", stdin="csv\n\n首都\nnothing-like-this\n".encode())
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert [answer["query"] for answer in answers] == ["csv", "首都", "nothing-like-this"]
    assert [len(answer["hits"]) for answer in answers] == [1, 1, 0]


def test_answers_for_people_repeat_the_query(cli, lexical):
    out = cli("search", lexical, stdin=b"csv\njson\n").out
    assert "> csv" in out
    assert "> json" in out


def test_a_bad_line_is_named(cli, lexical):
    done = cli("search", lexical, "--json", stdin=b"csv\n\xff\xfe\n")
    assert done.status == 2
    assert "line 2 of standard input" in done.error
    assert json.loads(done.out)["query"] == "csv"  # what was answered before stays valid


# --- queries that make no sense, or find nothing ------------------------------------------------------------------


@pytest.mark.parametrize("query", ["", "   "])
def test_an_empty_query_is_refused(cli, lexical, query):
    done = cli("search", lexical, query)
    assert done.status == 2
    assert "empty" in done.error


def test_stop_words_only_find_nothing_and_say_so(cli, lexical):
    done = cli("search", lexical, "the of and", "--json")
    assert done.status == 0
    assert done.json["hits"] == []
    assert "no word to search by in 'the of and'" in done.err


@pytest.mark.parametrize("k", [0, -3])
def test_k_must_be_positive(cli, lexical, k):
    done = cli("search", lexical, "csv", "-k", k)
    assert done.status == 2
    assert done.error == f"k must be at least 1, not {k}"


def test_k_beyond_the_collection_returns_what_there_is(cli, lexical):
    assert len(cli("search", lexical, "read file document", "-k", 10**9, "--json").json["hits"]) == 3


def test_an_empty_collection_finds_nothing(cli, tmp_path, write_lines):
    index = tmp_path / "empty.index"
    cli("index", index, write_lines([]), "--no-dense")
    done = cli("search", index, "anything")
    assert done.status == 0
    assert "nothing found in 0 documents" in done.out


@pytest.mark.parametrize("mode", ["dense", "hybrid"])
def test_a_mode_that_needs_vectors_is_refused(cli, lexical, mode):
    done = cli("search", lexical, "csv", "--mode", mode)
    assert done.status == 2
    assert "vectors" in done.error


def test_a_filter_that_cannot_be_read_is_refused(cli, lexical):
    done = cli("search", lexical, "csv", "--where", "year >>")
    assert done.status == 2
    assert "year >>" in done.error


def test_bytes_that_are_no_text_are_refused(cli, lexical):
    done = cli("search", lexical, "caf\udce9")
    assert done.status == 2
    assert "UTF-8" in done.error


# --- similar ------------------------------------------------------------------------------------------------------


def test_similar_leaves_the_document_itself_out(cli, lexical):
    found = cli("similar", lexical, "csv.DictReader", "--json").json
    assert found["similar_to"] == "csv.DictReader"
    assert found["hits"][0]["id"] == "json.load"
    assert "csv.DictReader" not in [hit["id"] for hit in found["hits"]]


def test_similar_to_an_unknown_document_is_a_problem(cli, lexical):
    done = cli("similar", lexical, "nobody")
    assert done.status == 1
    assert done.error.startswith("no document 'nobody'")
