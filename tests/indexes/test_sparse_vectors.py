"""Sparse vectors: what is refused, by name and value, and how weights become impacts."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexes.errors import VectorError
from indexes.sparse_vectors import MOST_DIMENSIONS, SparseVectors, quantised
from tests.indexes.sparse_oracle import dictionaries, vectors_of

WEIGHTS = st.floats(0, 2.0**99, width=32)
VECTORS = st.lists(st.dictionaries(st.integers(0, MOST_DIMENSIONS - 1), WEIGHTS, max_size=6), max_size=8)

OFFSETS = np.array([0, 2, 2, 3])
DIMENSIONS = np.array([1, 7, 4], np.int32)


@given(vectors=VECTORS, dtype=st.sampled_from([np.float32, np.float64, None]))
def test_vectors_in_order_are_accepted_as_they_are(vectors, dtype):
    made = vectors_of(vectors, dtype)
    assert made.checked() is made
    assert len(made) == len(vectors)
    assert dictionaries(made) == (vectors if dtype else [dict.fromkeys(vector, 1) for vector in vectors])


@given(vectors=VECTORS, dtype=st.sampled_from([np.float32, None]), data=st.data())
def test_some_are_vectors_of_their_own(vectors, dtype, data):
    made = vectors_of(vectors, dtype)
    first = data.draw(st.integers(0, len(vectors)))
    last = data.draw(st.integers(first, len(vectors)))
    some = made.some(first, last).checked()
    assert dictionaries(some) == dictionaries(made)[first:last]
    assert some.offsets[0] == 0


def test_no_vectors_and_empty_vectors():
    assert len(SparseVectors(np.zeros(1, np.int64), np.empty(0, np.int32)).checked()) == 0
    assert len(SparseVectors(np.zeros(4, np.int64), np.empty(0, np.int32), np.empty(0, np.float32)).checked()) == 3


@pytest.mark.parametrize(
    ("offsets", "dimensions", "weights", "message"),
    [
        ([], [], None, "must run from 0 to the number of entries, 0, not be missing"),
        ([1, 3], [1, 2, 3], None, "entries, 3, not from 1 to 3"),
        ([0, 2], [1, 2, 3], None, "entries, 3, not from 0 to 2"),
        ([0, 4], [1, 2, 3], None, "entries, 3, not from 0 to 4"),
        ([0, 2, 1, 3], [1, 2, 3], None, "those of vector 1 are 2 and 1"),
        ([0, -1, 3], [1, 2, 3], None, "those of vector 0 are 0 and -1"),
        ([0, 9, 3], [1, 2, 3], None, "those of vector 1 are 9 and 3"),
        ([0, 3], [-1, 2, 3], None, "from 0 to 4,194,303, not -1 to 3"),
        ([0, 3], [1, 2, MOST_DIMENSIONS], None, "not 1 to 4194304"),
        ([0, 1, 1, 3], [5, 2, 2], None, "of vector 2 must ascend, without repetitions, and 2 is followed by 2"),
        ([0, 3], [1, 9, 8], None, "of vector 0 must ascend, without repetitions, and 9 is followed by 8"),
        ([[0, 3]], [1, 2, 3], None, r"offsets must be a flat array of integers, not int64 \(1, 2\)"),
        ([0, 3], [[1, 2, 3]], None, r"dimensions must be a flat array of integers, not int64 \(1, 3\)"),
        ([0, 3], [1.0, 2.5, 3.0], None, "dimensions must be a flat array of integers, not float64"),
        ([0.0, 3.0], [1, 2, 3], None, "offsets must be a flat array of integers, not float64"),
        ([0, 3], [1, 2, 3], [1.0, 1.0], r"float64 weights \(2,\) for 3 entries"),
        ([0, 3], [1, 2, 3], [[1.0, 1.0, 1.0]], r"float64 weights \(1, 3\) for 3 entries"),
        ([0, 3], [1, 2, 3], ["1", "2", "3"], "weights .* for 3 entries"),
        ([0, 3], [1, 2, 3], [1.0, -0.5, 1.0], "entry 1 is -0.5"),
        ([0, 3], [1, 2, 3], [1.0, 1.0, np.nan], "entry 2 is nan"),
        ([0, 3], [1, 2, 3], [np.inf, 1.0, 1.0], "entry 0 is inf"),
    ],
)
def test_what_is_refused_and_what_is_said(offsets, dimensions, weights, message):
    vectors = SparseVectors(np.array(offsets), np.array(dimensions), None if weights is None else np.array(weights))
    if not offsets:
        vectors = SparseVectors(np.empty(0, np.int64), np.empty(0, np.int32))
    with pytest.raises(VectorError, match=message):
        vectors.checked()


def test_unsigned_offsets_that_fall_are_refused():
    with pytest.raises(VectorError, match="those of vector 1 are 2 and 1"):
        SparseVectors(np.array([0, 2, 1, 3], np.uint64), DIMENSIONS).checked()


def test_a_dimension_may_fall_where_the_next_vector_begins_also_after_empty_ones():
    SparseVectors(OFFSETS, DIMENSIONS).checked()
    SparseVectors(np.array([0, 0, 2, 2, 2, 3, 3]), DIMENSIONS).checked()


def test_weights_become_impacts_as_by_hand():
    weights = np.array([0.0, 1e-30, 0.5, 1.0, 1.5, 2.0, 3.0, 1e30], np.float32)
    vectors = SparseVectors(np.array([0, 1, 8]), np.arange(8, dtype=np.int32), weights)
    impacts = quantised(vectors, 2.0)
    # 255 * 0.5 / 2 = 63.75, 127.5 (to even), 191.25, 255, and what is larger is cut
    assert impacts.weights.tolist() == [1, 64, 128, 191, 255, 255, 255]
    assert impacts.weights.dtype == np.uint8
    assert impacts.offsets.tolist() == [0, 0, 7]
    assert impacts.dimensions.tolist() == [1, 2, 3, 4, 5, 6, 7]


@given(vectors=VECTORS, largest=st.one_of(st.floats(1e-30, 1e30), st.sampled_from([5e-324, 1e100])))
def test_impacts_are_rounded_exactly(vectors, largest):
    impacts = dictionaries(quantised(vectors_of(vectors, np.float32), largest))
    assert [list(vector) for vector in impacts] == [sorted(d for d, w in vector.items() if w > 0) for vector in vectors]
    for given_, made in zip(vectors, impacts, strict=True):
        for dimension, impact in made.items():
            exact = min(max(255 * Fraction(given_[dimension]) / Fraction(largest), Fraction(1)), Fraction(255))
            assert 1 <= impact <= 255
            assert abs(impact - exact) <= Fraction(1, 2) + Fraction(1, 10**9)


def test_a_heavier_entry_never_has_less_impact():
    weights = np.sort(np.random.default_rng(1).random(2000) * 3)
    impacts = quantised(SparseVectors(np.array([0, 2000]), np.arange(2000, dtype=np.int32), weights), 2.9).weights
    assert (np.diff(impacts.astype(int)) >= 0).all()
    assert (impacts.min(), impacts.max()) == (1, 255)


def test_the_scale_does_not_depend_on_what_else_is_quantised():
    vectors = vectors_of([{1: 0.3, 2: 0.7}, {1: 2.5}, {5: 0.01}], np.float32)
    apart = [quantised(vectors.some(number, number + 1), 3.0) for number in range(3)]
    together = quantised(vectors, 3.0)
    assert [dictionaries(one)[0] for one in apart] == dictionaries(together)


@pytest.mark.parametrize("largest", [0.0, -1.0, np.inf, np.nan, 1e101])
def test_an_impossible_scale_is_refused(largest):
    with pytest.raises(
        ValueError, match=f"largest weight must be positive and at most .* not {re.escape(repr(largest))}"
    ):
        quantised(vectors_of([{1: 1.0}], np.float32), largest)


def test_vectors_without_weights_or_out_of_order_are_not_quantised():
    with pytest.raises(VectorError, match="no weights to quantise"):
        quantised(vectors_of([{1: 1}], None), 1.0)
    with pytest.raises(VectorError, match="entry 0 is -1"):
        quantised(vectors_of([{1: -1.0}], np.float32), 1.0)
