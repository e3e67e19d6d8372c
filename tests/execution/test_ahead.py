"""The next thing is made while the last one is used, never more, in order, and errors come where they belong."""

from __future__ import annotations

import threading

import pytest

from retrieval.execution.ahead import one_ahead


@pytest.mark.parametrize("n", [0, 1, 2, 3, 10])
def test_everything_comes_in_order(n):
    assert list(one_ahead(lambda number: number * 2, range(n))) == [2 * number for number in range(n)]


def test_the_next_is_made_meanwhile_and_no_more():
    begun = [threading.Event() for _ in range(5)]

    def make(number: int) -> int:
        begun[number].set()
        return number

    for number in one_ahead(make, range(5)):
        if number < 4:
            assert begun[number + 1].wait(10)  # without being asked for
        assert not any(event.is_set() for event in begun[number + 2 :])


def test_a_single_thing_is_made_in_the_callers_thread():
    assert list(one_ahead(lambda _: threading.current_thread(), [1])) == [threading.current_thread()]


def test_errors_come_in_the_place_of_their_results():
    found = []
    with pytest.raises(ZeroDivisionError):
        for value in one_ahead(lambda number: 6 // number, [3, 2, 0, 1]):
            found.append(value)
    assert found == [2, 3]
