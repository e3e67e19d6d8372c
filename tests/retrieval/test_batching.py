from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.batching import distinct, plan_batches, plan_cheapest_batches, plan_packed_batches, plan_windows

LENGTHS = st.lists(st.integers(0, 300), max_size=60)


@given(LENGTHS, st.integers(1, 600))
def test_batches_hold_every_row_once_within_the_budget(lengths, budget):
    batches = [batch.tolist() for batch in plan_batches(np.array(lengths, np.int64), budget)]
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget


@given(LENGTHS, st.integers(1, 600))
def test_batches_go_from_long_to_short_and_keep_the_order_of_equals(lengths, budget):
    rows = [row for batch in plan_batches(np.array(lengths, np.int64), budget) for row in batch.tolist()]
    assert rows == sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))


def test_batches_are_filled():
    batches = list(plan_batches(np.array([10] * 25), 100))
    assert [len(batch) for batch in batches] == [10, 10, 5]


@given(LENGTHS, st.integers(1, 600))
def test_windows_are_consecutive_and_full(lengths, budget):
    windows = [window.tolist() for window in plan_windows(np.array(lengths, np.int64), budget)]
    assert [row for window in windows for row in window] == list(range(len(lengths)))
    for number, window in enumerate(windows):
        total = sum(lengths[row] for row in window)
        assert len(window) == 1 or total <= budget
        if number + 1 < len(windows):
            assert total + lengths[windows[number + 1][0]] > budget


def cost(batches, lengths, overhead):
    return sum(len(batch) * max(1, *(lengths[row] for row in batch)) + overhead for batch in batches)


def least_cost(widths, budget, overhead):
    """Try all ways to cut a descending list into batches within the budget."""
    if not widths:
        return 0
    tried = [
        end * widths[0] + overhead + least_cost(widths[end:], budget, overhead)
        for end in range(1, len(widths) + 1)
        if end == 1 or end * widths[0] <= budget
    ]
    return min(tried)


@given(st.lists(st.integers(0, 300), max_size=9), st.integers(1, 900), st.integers(0, 100))
def test_the_cheapest_batches_are_the_cheapest(lengths, budget, overhead):
    batches = [batch.tolist() for batch in plan_cheapest_batches(np.array(lengths, np.int64), budget, overhead)]
    widths = sorted((max(length, 1) for length in lengths), reverse=True)
    assert cost(batches, lengths, overhead) == least_cost(widths, budget, overhead)


@given(LENGTHS, st.integers(1, 600), st.integers(0, 100))
def test_the_cheapest_batches_hold_every_row_once_within_the_budget(lengths, budget, overhead):
    batches = [batch.tolist() for batch in plan_cheapest_batches(np.array(lengths, np.int64), budget, overhead)]
    rows = [row for batch in batches for row in batch]
    assert rows == sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[row] for row in batch) <= budget
    plain = [batch.tolist() for batch in plan_batches(np.array(lengths, np.int64), budget)]
    assert cost(batches, lengths, overhead) <= cost(plain, lengths, overhead)


@given(LENGTHS, st.integers(1, 600))
def test_packed_batches_hold_every_row_once_and_are_full(lengths, budget):
    batches = [batch.tolist() for batch in plan_packed_batches(np.array(lengths, np.int64), budget)]
    rows = [row for batch in batches for row in batch]
    assert rows == sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    for number, batch in enumerate(batches):
        total = sum(lengths[row] for row in batch)
        assert len(batch) == 1 or total <= budget
        if number + 1 < len(batches):
            assert total + lengths[batches[number + 1][0]] > budget


@given(st.lists(st.text(alphabet="ab", max_size=2)))
def test_distinct_texts(texts):
    found, places = distinct(texts)
    assert found == list(dict.fromkeys(texts))
    assert [found[place] for place in places.tolist()] == texts
