"""Masks over a segment: equal to the filter's own meaning on every document, one pass a field, thread-safe."""

from __future__ import annotations

import contextlib
import random
import threading
import tracemalloc

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.errors import CorruptIndexError
from retrieval.filters import Exists, Or, field, parse_filter
from retrieval.metadata_columns import MetadataColumns
from tests.retrieval.filter_strategies import filters, metadata


class Stored:
    """Metadata as a segment holds it, which counts how often it is read."""

    def __init__(self, documents):
        self.documents = documents
        self.texts = [None if document is None else msgspec.json.encode(document).decode() for document in documents]
        self.rows_read = 0

    def read(self, start, stop):
        self.rows_read += stop - start
        return self.texts[start:stop]

    def columns(self):
        return MetadataColumns(len(self.texts), self.read)

    def expected(self, condition):
        return [condition.matches(document or {}) for document in self.documents]


@given(st.lists(metadata | st.none(), max_size=8), st.lists(filters, min_size=1, max_size=4))
def test_masks_equal_the_meaning_of_the_filter(documents, conditions):
    stored = Stored(documents)
    columns = stored.columns()
    for condition in [*conditions, *conditions]:
        mask = columns.mask(condition)
        assert mask.dtype == bool
        assert mask.shape == (len(documents),)
        assert mask.tolist() == stored.expected(condition)


def test_large_segments_are_read_in_chunks():
    generator = random.Random(0)
    documents = [
        {
            "year": generator.randrange(1990, 2025),
            "tags": generator.choices("abcdef", k=generator.randrange(4)),
            "lang": generator.choice(["en", "de", None]),
            "source": {"name": f"s{row % 7}"},
        }
        for row in range(10_000)
    ]
    stored = Stored(documents)
    columns = stored.columns()
    for where in (
        "year >= 2010 and lang in [en, de]",
        "tags = a or source.name = s3",
        "lang is null and not (tags in [b, c])",
    ):
        condition = parse_filter(where)
        assert columns.mask(condition).tolist() == stored.expected(condition)
        assert 0 < columns.mask(condition).sum() < len(documents)


def test_a_field_is_decoded_once_and_a_filter_evaluated_once():
    stored = Stored([{"a": row, "b": row % 2} for row in range(100)])
    columns = stored.columns()
    first = columns.mask((field("a") >= 50) & (field("b") == 1))
    assert stored.rows_read == 100
    assert columns.mask((field("a") >= 50) & (field("b") == 1)) is first
    columns.mask(field("a") < 3)
    assert stored.rows_read == 100
    columns.mask(field("c").is_null())
    assert stored.rows_read == 200


def test_masks_are_read_only():
    mask = Stored([{"a": 1}]).columns().mask(Exists("a"))
    with pytest.raises(ValueError, match="read-only"):
        mask[0] = False


def test_many_filters_keep_their_answers():
    stored = Stored([{"a": row} for row in range(200)])
    columns = stored.columns()
    for _ in range(2):
        for value in range(200):
            assert np.flatnonzero(columns.mask(field("a") == value)).tolist() == [value]


def test_true_is_not_one():
    columns = Stored([{"a": True}, {"a": 1}, {"a": 1.0}, {"a": [True, 1]}]).columns()
    assert columns.mask(field("a") == True).tolist() == [True, False, False, True]  # noqa: E712
    assert columns.mask(field("a") == 1).tolist() == [False, True, True, True]


def test_a_filter_of_many_parts_holds_few_masks_at_once():
    columns = Stored([{"a": row} for row in range(5000)]).columns()
    condition = Or(tuple(field("a") == number for number in range(0, 2000, 2)))
    columns.mask(Exists("a"))  # builds the column
    tracemalloc.start()
    try:
        mask = columns.mask(condition)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.flatnonzero(mask).tolist() == list(range(0, 2000, 2))
    assert peak < 2_000_000  # 1,000 masks of 5,000 documents would be 5 MB


def test_an_empty_segment():
    assert Stored([]).columns().mask(Exists("a")).shape == (0,)


@pytest.mark.parametrize("text", ["{", "[1]", "5", "[" * 5000])
@pytest.mark.parametrize("name", ["a", 'quo"te'])
def test_corrupt_metadata_is_named(text, name):
    columns = MetadataColumns(2, lambda start, stop: ['{"a": 1}', text][start:stop])
    with pytest.raises(CorruptIndexError, match="row 1 is no JSON object"):
        columns.mask(Exists(name))


def test_threads_share_columns():
    stored = Stored([dict.fromkeys("abcdefgh", row % 10) for row in range(3000)])
    columns = stored.columns()
    conditions = [field(name) == value for name in "abcdefgh" for value in range(4)]
    expected = [sum(stored.expected(condition)) for condition in conditions]
    failures = []
    barrier = threading.Barrier(4)

    def work():
        barrier.wait()
        for condition, count in zip(conditions, expected, strict=True):
            if columns.mask(condition).sum() != count:
                failures.append(condition)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert stored.rows_read == 8 * 3000


def test_values_nested_to_the_limit_of_recursion_are_damage_or_no_value():
    for depth in range(800, 1000):
        text = '{"a": ' + "[" * depth + "1" + "]" * depth + "}"
        columns = MetadataColumns(1, lambda start, stop, text=text: [text])
        with contextlib.suppress(CorruptIndexError):
            columns.mask(parse_filter("a >= 1"))
