from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from retrieval.batching import plan_batches, plan_windows

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
