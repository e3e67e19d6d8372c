"""What filters mean: a table of cases, and laws that hold for all of them."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import FilterError
from retrieval.filter_nodes import DEEPEST
from retrieval.filters import And, Compare, Equals, Exists, In, Not, Or, field, parse_filter
from tests.retrieval.filter_strategies import fields, filters, leaves, metadata, ordered, scalars

DOCUMENT = {
    "year": 2020,
    "score": 0.5,
    "lang": "en",
    "draft": False,
    "author": None,
    "tags": ["ml", "ir", None],
    "empty": [],
    "published": "2024-01-31",
    "updated": "2024-01-31T23:30:00-05:00",
    "source": {"name": "arXiv", "ids": [1, 2], "people": [{"name": "A"}, {"name": "B"}]},
    "dotted.key": 1,
    "code": "5",
}
DAY = datetime.date(2024, 1, 31)


def at(*parts, zone=datetime.UTC):
    return datetime.datetime(2024, *parts, tzinfo=zone)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (field("year") == 2020, True),
        (field("year") == 2020.0, True),
        (field("year") == "2020", False),
        (field("year") >= 2020, True),
        (field("year") > 2020, False),
        (field("year") <= 2020, True),
        (field("year") < 2020, False),
        (field("year") < "3", False),
        (field("year") == np.int64(2020), True),
        (field("score") < 1, True),
        (field("lang") == "en", True),
        (field("lang") != "en", False),
        (field("lang").in_(["en", "de"]), True),
        (field("lang").in_([]), False),
        (field("lang") > "de", True),
        (field("lang") > "z", False),
        # A boolean is no number, though Python holds False == 0.
        (field("draft") == False, True),  # noqa: E712
        (field("draft") == 0, False),
        (field("draft").in_([0, "x"]), False),
        (field("draft") >= 0, False),
        (field("year") == True, False),  # noqa: E712
        # Missing, null and empty satisfy nothing but null.
        (field("author") == "x", False),
        (field("author") != "x", True),
        (field("author").is_null(), True),
        (field("author") == None, True),  # noqa: E711
        (field("missing").is_null(), True),
        (field("empty").is_null(), True),
        (field("tags").is_null(), False),
        (field("tags") != None, True),  # noqa: E711
        (field("lang").is_not_null(), True),
        (field("missing") < 5, False),
        (~(field("missing") < 5), True),
        # Any element of a list.
        (field("tags") == "ml", True),
        (field("tags").contains("ir"), True),
        (field("tags") == "x", False),
        (field("tags").in_(["x", "ir"]), True),
        (field("tags") > "j", True),
        # Paths.
        (field("source.name") == "arXiv", True),
        (field("source.ids") == 2, True),
        (field("source.people.name") == "B", True),
        (field("source.people.age").is_null(), True),
        (field("source").is_null(), False),
        (field("source") == "arXiv", False),
        (field("dotted.key") == 1, True),
        (field("dotted").is_null(), True),
        (field("year.x").is_null(), True),
        # A date is a day, as written; a datetime an instant.
        (field("published") == DAY, True),
        (field("published") < datetime.date(2024, 2, 1), True),
        (field("published") == "2024-01-31", True),
        (field("updated") == DAY, True),
        (field("updated") <= DAY, True),
        (field("updated") > DAY, False),
        (field("updated") == at(2, 1, 4, 30), True),
        (field("updated") > at(2, 1), True),
        (field("updated") > datetime.datetime(2024, 2, 1), True),
        (field("published") == at(1, 31), True),
        (field("published") < at(1, 31, 1), True),
        (field("code") < DAY, False),
        (field("year") > DAY, False),
        (field("published").in_([DAY]), True),
        (field("published").in_([1, at(1, 31)]), True),
        # Combinations.
        ((field("year") == 2020) & (field("lang") == "en"), True),
        ((field("year") == 2021) | (field("lang") == "en"), True),
        (~(field("year") == 2021) & ~(field("lang") == "de"), True),
    ],
)
def test_meaning(condition, expected):
    assert condition.matches(DOCUMENT) is expected


NO_DATES = ["2024-02-30", "2024-1-31", "20240131", "2024-01-31x", "2024-01-31T25:00", "2024-W05-3", "٢٠٢٤-01-31", 2024]


@pytest.mark.parametrize("value", NO_DATES)
def test_what_looks_like_a_date_and_is_none(value):
    assert not (field("a") <= datetime.date.max).matches({"a": value})
    assert (field("a") == value).matches({"a": value})


def test_the_ends_of_the_calendar_compare():
    first, last = "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"
    now = at(1, 1)
    assert (field("a") < now).matches({"a": first})
    assert (field("a") > now).matches({"a": last})
    edge = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.timezone(-datetime.timedelta(hours=14)))
    assert (field("a") == edge).matches({"a": last})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Equals("a", float("nan")),
        lambda: field("a") < float("inf"),
        lambda: field("a") == "\ud800",
        lambda: field("a") == b"x",
        lambda: field("a") < None,
        lambda: field("a") < True,
        lambda: field("a") == 10**30,
        lambda: field("a").in_("text"),
        lambda: field("a").in_(5),
        lambda: field("a").in_([None]),
        lambda: field(5) == 1,
        lambda: field("\ud800") == 1,
        lambda: Compare("a", "=", 1),
        lambda: Compare("a", ["<"], 1),
        lambda: field(10**5000) == 1,
        lambda: And((Exists("a"),)),
        lambda: Or(()),
        lambda: Not("a = 1"),
        lambda: Exists("a") & True,
        lambda: bool(Exists("a")),
        lambda: 1 if (field("a") == 1) and (field("b") == 2) else 0,
    ],
)
def test_what_makes_no_sense_is_refused(make):
    with pytest.raises(FilterError) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_filters_are_values():
    assert (field("a") == 1) == Equals("a", 1)
    assert hash(field("a").in_(iter([1, 2]))) == hash(In("a", (1, 2)))
    assert len({Equals("a", 1), Equals("a", True), Equals("a", "1"), Equals("a", 1.0)}) == 3
    assert In("a", (1,)) != In("a", (True,))
    a, b, c = Exists("a"), Exists("b"), Exists("c")
    assert a & b & c == And((a, b, c))
    assert a | (b | c) == Or((a, b, c))
    assert (a & b) | c == Or((And((a, b)), c))
    assert (a & ~b).fields() == {"a", "b"}


def test_deep_filters_are_read_back_or_refused():
    """What can be built can be hashed, matched, written and read: the limit is far below that of recursion."""
    for wrap in (lambda inner: ~inner, lambda inner: And((inner, Exists("b"))), lambda inner: Or((inner, Exists("c")))):
        condition = Exists("a")
        with pytest.raises(FilterError, match=f"nested more than {DEEPEST} deep"):
            for level in range(2000):
                condition = wrap(condition) if level % 2 else ~condition
        assert hash(condition) == hash(parse_filter(str(condition)))
        assert parse_filter(condition.to_json()) == condition
        assert condition.matches({"a": 1}) in (True, False)


def test_long_filters_have_no_limit():
    condition = Or(tuple(field("a") == number for number in range(5000)))
    assert parse_filter(str(condition)) == condition
    assert condition.matches({"a": 4999})


@given(filters, filters, metadata)
def test_de_morgan_and_negation(first, second, document):
    assert (~first).matches(document) is not first.matches(document)
    assert (~(first & second)).matches(document) == (~first | ~second).matches(document)
    assert (~(first | second)).matches(document) == (~first & ~second).matches(document)


@given(fields, ordered, metadata)
def test_comparisons_agree_with_one_another(name, value, document):
    at_most, at_least = Compare(name, "<=", value), Compare(name, ">=", value)
    assert at_most.matches(document) == (Compare(name, "<", value) | Equals(name, value)).matches(document)
    assert at_least.matches(document) == (Compare(name, ">", value) | Equals(name, value)).matches(document)
    assert Equals(name, value).matches(document) == In(name, (value,)).matches(document)
    if Equals(name, value).matches(document):
        assert Exists(name).matches(document)


@given(fields, st.lists(scalars, min_size=1, max_size=4), leaves)
def test_a_list_matches_if_any_element_does(name, elements, condition):
    alone = [condition.matches({name: element}) for element in elements]
    assert condition.matches({name: elements}) == any(alone)
