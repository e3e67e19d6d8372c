"""Random metadata and random filters: a few fields and values that often meet, and all that the grammar can write."""

from __future__ import annotations

import datetime

from hypothesis import strategies as st

from retrieval.filters import And, Compare, Equals, Exists, In, Not, Or

COMPARISONS = st.sampled_from(["<", "<=", ">", ">="])


def leaves_of(fields, ordered):
    """Conditions on one field; `ordered` are the values that have an order."""
    return (
        st.builds(Equals, fields, ordered | st.booleans())
        | st.builds(In, fields, st.lists(ordered | st.booleans(), max_size=4).map(tuple))
        | st.builds(Compare, fields, COMPARISONS, ordered)
        | st.builds(Exists, fields)
    )


def trees_of(leaves, max_leaves):
    """Conditions joined by and, or and not."""
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(Not, inner)
            | st.lists(inner, min_size=2, max_size=3)
            .map(tuple)
            .flatmap(lambda parts: st.sampled_from([And(parts), Or(parts)]))
        ),
        max_leaves=max_leaves,
    )


# Few fields, few values, all kinds: random metadata and random filters often meet.
FIELDS = ["a", "b", "a.b", "a.b.c", "x y", "not", 'quo"te', "back\\slash", "line\nend", "", "é", "key_0"]
STRINGS = ["", "en", "true", "2024-01-31", "2024-01-31T10:00:00+02:00", "5"]
fields = st.sampled_from(FIELDS)
ordered = (
    st.sampled_from([0, 1, -1, 1.0, 0.5, 2**63, 5])
    | st.sampled_from(STRINGS)
    | st.sampled_from([datetime.date(2024, 1, 31), datetime.datetime(2024, 1, 31, 8, tzinfo=datetime.UTC)])
)
leaves = leaves_of(fields, ordered)
filters = trees_of(leaves, max_leaves=5)
scalars = st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, 0.5, 5]) | st.sampled_from(STRINGS)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["b", "c", "b.c"]), inner, max_size=2),
    max_leaves=4,
)
metadata = st.dictionaries(fields, values, max_size=4)

# Any field and any value that a filter can hold.
any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
any_field = st.sampled_from(["a", "a.b", "x y", "not", "IN", "`", "``q`", "", "2020", "é", "and", "date"]) | any_text
zones = st.none() | st.integers(-86_399, 86_399).map(lambda s: datetime.timezone(datetime.timedelta(seconds=s)))
any_ordered = (
    st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "true", "NULL", "2024-01-31", "5", "en-US", "it's", 'quo"te', "back\\slash", "new\nline"])
    | any_text
    | st.dates()
    | st.datetimes(datetime.datetime(1, 1, 3), datetime.datetime(9999, 12, 29), timezones=zones)
)
any_filter = trees_of(leaves_of(any_field, any_ordered), max_leaves=6)

# What may stand where a filter is expected.
filter_texts = st.text(st.sampled_from("ab=<>!()[],.'\"`-01 \n{}:\\") | st.characters(), max_size=30)
_TOKENS = ["a", "b.c", "=", "<", "in", "not", "and", "or", "(", ")", "[", "]", ",", "1", "'x'", "null", "is"]
filter_tokens = st.lists(st.sampled_from(_TOKENS), max_size=12).map(" ".join)
_keys = st.sampled_from(["and", "or", "not", "in", "<", "=", "date", "exists", "a", "`b`"]) | st.text(max_size=3)
_json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=8,
)
filter_objects = st.dictionaries(_keys, _json_values, max_size=3)
