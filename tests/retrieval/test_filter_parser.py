"""Filters as text and as JSON: the grammar, round trips, and errors that say where and what."""

from __future__ import annotations

import datetime
import json

import pytest
from hypothesis import given

from retrieval.errors import FilterError
from retrieval.filters import And, Compare, Equals, Exists, In, Not, Or, field, parse_filter
from tests.retrieval.filter_strategies import any_filter, filter_objects, filter_texts, filter_tokens

DAY = datetime.date(2024, 1, 31)


@given(any_filter)
def test_text_and_json_read_back_as_the_same_filter(condition):
    assert parse_filter(str(condition)) == condition
    assert parse_filter(condition.to_json()) == condition
    assert parse_filter(json.dumps(condition.to_json())) == condition
    assert parse_filter(condition) is condition


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("year >= 2020", Compare("year", ">=", 2020)),
        ("year>=2020", Compare("year", ">=", 2020)),
        (
            "year >= 2020 and lang in [en, de]",
            And((Compare("year", ">=", 2020), In("lang", ("en", "de")))),
        ),
        ("not (draft = true)", Not(Equals("draft", True))),
        ('tag = "machine learning"', Equals("tag", "machine learning")),
        ("tag = 'it''s'", Equals("tag", "it's")),
        (r'tag = "\u00e9\n"', Equals("tag", "é\n")),
        ("published < 2024-01-31", Compare("published", "<", DAY)),
        (
            "at >= 2024-01-31T10:00:00Z",
            Compare("at", ">=", datetime.datetime(2024, 1, 31, 10, tzinfo=datetime.UTC)),
        ),
        ("at = 2024-01-31T10:00", Equals("at", datetime.datetime(2024, 1, 31, 10))),
        ('published < "2024-01-31"', Compare("published", "<", "2024-01-31")),
        ("author is null", Not(Exists("author"))),
        ("x is not null", Exists("x")),
        ("a != b", Not(Equals("a", "b"))),
        ("a == b", Equals("a", "b")),
        ("a not in (1, 2.5, -3e2)", Not(In("a", (1, 2.5, -300.0)))),
        ("a in []", In("a", ())),
        ("author.name = x", Equals("author.name", "x")),
        ("`first name` = x", Equals("first name", "x")),
        ("A = 1 AND B = 2 OR NOT C = 3", Or((And((Equals("A", 1), Equals("B", 2))), Not(Equals("C", 3))))),
        ("a = 1 or b = 2 and c = 3", Or((Equals("a", 1), And((Equals("b", 2), Equals("c", 3)))))),
        ("(a = 1 or b = 2) and c = 3", And((Or((Equals("a", 1), Equals("b", 2))), Equals("c", 3)))),
        ("not a = 1 and b = 2", And((Not(Equals("a", 1)), Equals("b", 2)))),
        ("lang = en-US", Equals("lang", "en-US")),
        ("språk = norsk", Equals("språk", "norsk")),
        ('{"year": 2020}', Equals("year", 2020)),
    ],
)
def test_text(where, expected):
    assert parse_filter(where) == expected


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (
            {"year": {">=": 2020, "<": 2024}, "lang": ["en", "de"]},
            And((And((Compare("year", ">=", 2020), Compare("year", "<", 2024))), In("lang", ("en", "de")))),
        ),
        ({"lang": "en"}, Equals("lang", "en")),
        ({"lang": {"=": "en"}}, Equals("lang", "en")),
        ({"lang": {"!=": "en"}}, Not(Equals("lang", "en"))),
        ({"lang": {"in": ["en"]}}, In("lang", ("en",))),
        ({"lang": {"not in": ["en"]}}, Not(In("lang", ("en",)))),
        ({"author": None}, Not(Exists("author"))),
        ({"author": {"=": None}}, Not(Exists("author"))),
        ({"author": {"!=": None}}, Exists("author")),
        ({"author": {"exists": True}}, Exists("author")),
        ({"author": {"exists": False}}, Not(Exists("author"))),
        ({"not": {"a": 1}}, Not(Equals("a", 1))),
        ({"or": [{"a": 1}, {"b": 2}]}, Or((Equals("a", 1), Equals("b", 2)))),
        ({"and": [{"a": 1}, {"b": 2}]}, And((Equals("a", 1), Equals("b", 2)))),
        ({"and": [{"a": 1}]}, Equals("a", 1)),
        ({"or": [{"a": 1}]}, Equals("a", 1)),
        ({"`not`": 1}, Equals("not", 1)),
        ({"d": {"date": "2024-01-31"}}, Equals("d", DAY)),
        ({"d": {"<": {"date": "2024-01-31"}}}, Compare("d", "<", DAY)),
        ({"d": [{"date": "2024-01-31"}, 1]}, In("d", (DAY, 1))),
        ({"d": {"<": DAY}}, Compare("d", "<", DAY)),
        ({"d": {"b", "a"}}, In("d", ("a", "b"))),
    ],
)
def test_json(where, expected):
    assert parse_filter(where) == expected


@pytest.mark.parametrize(
    ("where", "place", "expected"),
    [
        ("", "character 1 ", "a field"),
        ("year", "character 5 ", "a comparison"),
        ("year >", "character 7 ", "a value"),
        ("year >= and", "character 9 ", "found 'and'"),
        ("a = null", "character 5 ", "'is null'"),
        ("a is 5", "character 6 ", "'null'"),
        ("(a = 1", "character 7 ", "')'"),
        ("a in [1 2]", "character 9 ", "','"),
        ("a in 3", "character 6 ", "a list"),
        ("a not = 3", "character 7 ", "'in'"),
        ("a = 1 b", "character 7 ", "'and', 'or' or the end"),
        ("a ~ 1", "character 3 ", "found '~ 1'"),
        ("a = 'x", "character 5 ", "a closing quote"),
        ("a = `x`", "character 5 ", "a value"),
        ("a = 01", "character 5 ", "text in quotes"),
        ("a = 2024-02-30", "character 5 ", "a value"),
        (r'a = "\q"', "character 5 ", "a value"),
        ("a = 1e999", "character 5 ", "a value"),
        ("and = 1", "character 1 ", "a field"),
        ("(" * 500, "character 101 ", "at most 100 levels"),
        ("not " * 500 + "a = 1", "character 401 ", "at most 100 levels"),
        ({}, "$", "a condition"),
        ({"a": {}}, "$.a", "an operator"),
        ({"a": {"~": 1}}, "$.a.~", "one of =, !="),
        ({"a": {"<": None}}, "$.a.<", "a single value"),
        ({"a": {"<": [1]}}, "$.a.<", "a single value"),
        ({"a": {"in": 1}}, "$.a.in", "a list of values"),
        ({"a": {"exists": 1}}, "$.a.exists", "true or false"),
        ({"a": [None]}, "$.a[0]", "a single value"),
        ({"a": {"date": "yesterday"}}, "$.a", "a value, or"),
        ({"a": {"date": 1, "<": 2}}, "$.a", "a value, or"),
        ({"or": []}, "$.or", "a list of filters"),
        ({"or": {"a": 1}}, "$.or", "a list of filters"),
        ({"and": [{"a": 1}, 5]}, "$.and[1]", "an object"),
        ({"not": None}, "$.not", "an object"),
        ({5: 1}, "$.5", "a field's name"),
    ],
)
def test_errors_say_where_and_what_was_expected(where, place, expected):
    with pytest.raises(FilterError) as caught:
        parse_filter(where)
    message = str(caught.value)
    assert f" at {place}" in message
    assert expected in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "where", ['{"a"', '{"a": "\ud800"}', '{"a":' * 5000, 5, None, [1], {"a": object()}, {"a": {"<": True}}]
)
def test_other_nonsense_is_refused(where):
    with pytest.raises(FilterError):
        parse_filter(where)


@pytest.mark.parametrize("where", [{"a\nb": [[1]]}, {"x" * 5000: [[1]]}, {"a\nb": {"<": True}}, {"a": {"x\n" * 9: 1}}])
def test_errors_are_one_short_line_whatever_the_names(where):
    with pytest.raises(FilterError) as caught:
        parse_filter(where)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_deep_json_is_refused():
    deep: dict = {"a": 1}
    for _ in range(500):
        deep = {"not": deep}
    with pytest.raises(FilterError, match="nested"):
        parse_filter(deep)


@given(filter_texts)
def test_random_text_is_a_filter_or_a_filter_error(where):
    try:
        condition = parse_filter(where)
    except FilterError as error:
        assert "\n" not in str(error)
    else:
        assert parse_filter(str(condition)) == condition


@given(filter_tokens)
def test_random_tokens_are_a_filter_or_a_filter_error(where):
    try:
        condition = parse_filter(where)
    except FilterError:
        return
    assert parse_filter(str(condition)) == condition


@given(filter_objects)
def test_random_json_is_a_filter_or_a_filter_error(where):
    try:
        condition = parse_filter(where)
    except FilterError:
        return
    assert parse_filter(condition.to_json()) == condition


def test_python_and_text_agree():
    condition = (field("year") >= 2020) & field("lang").in_(["en", "de"]) & ~field("author").is_null()
    assert str(condition) == "year >= 2020 and lang in [en, de] and not (author is null)"
    assert parse_filter(str(condition)) == condition
