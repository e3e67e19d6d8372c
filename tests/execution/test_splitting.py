"""A batch that does not fit into memory is run in halves, and said; anything else that goes wrong goes on its way."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import EncoderError
from retrieval.execution.splitting import MemoryLimit, run_batches


class Machine:
    """Doubles lengths; has room for so many tokens at a time."""

    def __init__(self, lengths: np.ndarray, room: int, error: Exception | None = None) -> None:
        self.lengths = lengths
        self.room = room
        self.error = error or MemoryError("full")
        self.failed: list[int] = []
        self.ran: list[int] = []

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        tokens = int(self.lengths[rows].sum())
        if tokens > self.room:
            self.failed.append(tokens)
            raise self.error
        self.ran.append(tokens)
        return 2 * self.lengths[rows]


@given(st.lists(st.integers(1, 20), min_size=1, max_size=30), st.integers(20, 60), st.integers(1, 12))
def test_every_row_comes_once_with_its_result(lengths, room, size):
    tokens = np.array(lengths, np.int64)
    machine = Machine(tokens, room)
    batches = np.split(np.arange(len(tokens)), range(size, len(tokens), size))
    found = np.zeros(len(tokens), np.int64)
    for rows, result in run_batches(batches, machine, tokens):
        found[rows] += result
    assert found.tolist() == (2 * tokens).tolist()
    # Each failure halves what is tried afterwards, so there are few.
    assert all(after <= before / 2 for before, after in zip(machine.failed, machine.failed[1:], strict=False))


def test_it_is_said(caplog):
    lengths = np.full(8, 10)
    with caplog.at_level(logging.WARNING):
        list(run_batches([np.arange(8)], Machine(lengths, 40), lengths))
    assert [record.getMessage() for record in caplog.records] == [
        "a batch of 8 texts, 80 tokens, does not fit into memory (full); it is run again in halves, and so are larger "
        "ones: set batch_tokens lower"
    ]


def test_what_is_learnt_is_known_to_later_calls():
    lengths, limit = np.full(8, 10), MemoryLimit()
    machine = Machine(lengths, 20)
    for _ in range(3):
        assert sum(len(rows) for rows, _ in run_batches([np.arange(8)], machine, lengths, limit)) == 8
    assert machine.failed == [80, 40]
    assert limit.tokens == 20


def test_a_limit_only_falls():
    limit = MemoryLimit()
    for tokens in (40, 20, 30):
        limit.lower(tokens)
    assert limit.tokens == 20


def test_a_single_text_that_does_not_fit():
    lengths = np.array([5, 900])
    with pytest.raises(EncoderError, match=r"a text of 900 tokens does not fit into memory \(full\); let less"):
        list(run_batches([np.array([1])], Machine(lengths, 100), lengths))


def test_a_shortage_that_even_one_text_meets_teaches_nothing_of_batches():
    lengths, limit = np.full(8, 10), MemoryLimit()
    with pytest.raises(EncoderError, match="a text of 10 tokens"):
        list(run_batches([np.arange(8)], Machine(lengths, 1), lengths, limit))
    assert limit.tokens == math.inf
    found = list(run_batches([np.arange(8)], Machine(lengths, 1000), lengths, limit))
    assert [len(rows) for rows, _ in found] == [8], "memory is there again"


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4096 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("could not create a memory object"),
    ],
    ids=str,
)
def test_errors_that_say_that_memory_is_short(error):
    lengths = np.full(4, 10)
    machine = Machine(lengths, 20, error)
    assert sum(len(rows) for rows, _ in run_batches([np.arange(4)], machine, lengths)) == 4
    assert (machine.failed, machine.ran) == ([40], [20, 20])


def test_the_error_of_pytorch():
    torch = pytest.importorskip("torch")
    lengths = np.full(4, 10)
    machine = Machine(lengths, 20, torch.OutOfMemoryError("CUDA out of memory"))
    assert sum(len(rows) for rows, _ in run_batches([np.arange(4)], machine, lengths)) == 4


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("no")], ids=str
)
def test_other_errors_go_on(error):
    lengths = np.full(4, 10)
    with pytest.raises(type(error), match=str(error)):
        list(run_batches([np.arange(4)], Machine(lengths, 20, error), lengths))
