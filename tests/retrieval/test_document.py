"""Documents: what they may hold, and how their metadata becomes JSON."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import uuid

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.documents import Document, metadata_json
from retrieval.errors import DocumentError

utf8 = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
json_values = st.recursive(
    scalars | utf8,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(utf8, inner, max_size=4),
    max_leaves=8,
)


class Colour(enum.StrEnum):
    red = "rouge"


class Plain(str, enum.Enum):  # noqa: UP042  # its str() is its name, unlike a StrEnum's
    red = "rouge"


def test_full_text_joins_title_and_text():
    assert Document("1", "text", "title").full_text == "title text"
    assert Document("1", "text").full_text == "text"
    assert Document("1", "", "title").full_text == "title"
    assert Document("1", "").full_text == ""


@pytest.mark.parametrize("identifier", ["1", "a b", "line\nend", "文書 ١", " ", "\0", "😀"])
def test_every_non_empty_string_is_an_id(identifier):
    assert Document(identifier, "x").id == identifier


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"id": "", "text": "x"}, "empty id"),
        ({"id": 3, "text": "x"}, "id is not a string: 3"),
        ({"id": "\ud800", "text": "x"}, "lone surrogate"),
        ({"id": "a", "text": None}, "text is not a string: None"),
        ({"id": "a", "text": "half \ude00"}, "lone surrogate"),
        ({"id": "a", "text": "x", "title": 5}, "title is not a string"),
        ({"id": "a", "text": "x", "metadata": [1]}, "metadata is not an object"),
        ({"id": "a", "text": "x", "metadata": {1: 2}}, "metadata key is not text"),
        ({"id": "a", "text": "x", "metadata": {"a": float("nan")}}, "nan of 'a' is not a finite number"),
        ({"id": "a", "text": "x", "metadata": {"a": {"b": [1, float("inf")]}}}, "inf of 1 in 'a.b'"),
        ({"id": "a", "text": "x", "metadata": {"a": 2**64}}, "64-bit"),
        ({"id": "a", "text": "x", "metadata": {"a": b"bytes"}}, "(bytes) has no JSON form"),
        ({"id": "a", "text": "x", "metadata": {"a": object()}}, "has no JSON form"),
        ({"id": "a", "text": "x", "metadata": {"a": 10**5000}}, "64-bit"),
        ({"id": "a", "text": "x", "metadata": {"a": "\ud800"}}, "lone surrogate"),
    ],
)
def test_unusable_fields_are_named(fields, message):
    with pytest.raises(DocumentError) as caught:
        Document(**fields)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_endless_metadata_is_refused():
    loop: list = []
    loop.append(loop)
    with pytest.raises(DocumentError, match="nested more than"):
        Document("a", "x", metadata={"loop": loop})


def test_metadata_takes_json_forms():
    given_values = {
        "date": datetime.date(2024, 1, 31),
        "datetime": datetime.datetime(2024, 1, 31, 10, tzinfo=datetime.UTC),
        "time": datetime.time(1, 2),
        "tuple": (1, "a"),
        "decimal": decimal.Decimal("1.5"),
        "uuid": uuid.UUID(int=1),
        "numpy": np.float32(0.5),
        "bool": np.bool_(True),
        "array": np.arange(3),
        "enum": Colour.red,
        "mixed": Plain.red,
        "nested": {"day": datetime.date(2024, 1, 31)},
    }
    assert Document("a", "x", metadata=given_values).metadata == {
        "date": "2024-01-31",
        "datetime": "2024-01-31T10:00:00+00:00",
        "time": "01:02:00",
        "tuple": [1, "a"],
        "decimal": 1.5,
        "uuid": "00000000-0000-0000-0000-000000000001",
        "numpy": 0.5,
        "bool": True,
        "array": [0, 1, 2],
        "enum": "rouge",
        "mixed": "rouge",
        "nested": {"day": "2024-01-31"},
    }


def test_metadata_is_copied():
    values = {"a": [1]}
    document = Document("a", "x", metadata=values)
    values["a"].append(2)
    assert document.metadata == {"a": [1]}


def test_from_mapping_reads_what_to_mapping_writes():
    document = Document("a", "x", "t", {"year": 2020})
    assert Document.from_mapping(document.to_mapping()) == document
    assert Document.from_mapping({"id": "a", "text": "x"}) == Document("a", "x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": "x"}, "no id"),
        ({"id": "a"}, "no text"),
        ({"id": "a", "text": "x", "url": 1}, "unknown field: 'url'"),
        (["id"], "not an object"),
    ],
)
def test_from_mapping_names_the_fault(values, message):
    with pytest.raises(DocumentError, match=message):
        Document.from_mapping(values)


@given(st.dictionaries(utf8, json_values, max_size=5))
def test_canonical_json_is_json_and_does_not_depend_on_the_order_of_keys(metadata):
    text = metadata_json(Document("a", "x", metadata=metadata))
    assert msgspec.json.decode(text) == metadata
    assert json.loads(text) == metadata
    backwards = dict(reversed(list(metadata.items())))
    assert metadata_json(Document("a", "x", metadata=backwards)) == text


@given(st.text(), st.text(), st.text())
def test_a_document_can_be_written_or_is_refused(identifier, text, title):
    encodable = not any("\ud800" <= character <= "\udfff" for character in identifier + text + title)
    if identifier and encodable:
        assert Document(identifier, text, title).id.encode()
    else:
        with pytest.raises(DocumentError):
            Document(identifier, text, title)


def test_strings_of_other_types_become_plain_ones():
    document = Document(np.str_("a"), np.str_("é"), title=np.str_("t"))
    assert (document.id, document.text, document.title) == ("a", "é", "t")
    assert {type(document.id), type(document.text), type(document.title)} == {str}
