"""Winner-take-all against a dense computation that holds everything at once, and its gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from retrieval.models.ultra_high_dimensional import winners
from retrieval.models.ultra_high_dimensional.winners import keep_largest, pool_winners, token_winners, top_k


def dense(hidden, weight, bias, k):
    """Return all outputs with all but the winners set to 0, (tokens, n), the plain way."""
    scores = hidden @ weight.T + bias
    order = np.argsort(-scores.detach().numpy(), axis=1, kind="stable")[:, :k]  # stable: the lower dimension first
    mask = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, torch.from_numpy(order.copy()), True)
    return scores * mask


def pooled(hidden, weight, bias, k, texts, n_texts):
    values, ids = token_winners(hidden, weight, bias, k)
    return pool_winners(values, ids, texts, n_texts, len(weight))


def drawn(tokens, hidden_size, n, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(*shape, generator=generator, dtype=dtype)
        for shape in [(tokens, hidden_size), (n, hidden_size), (n,)]
    ]


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.integers(-2, 2), min_size=6, max_size=6), min_size=1, max_size=5),
    st.integers(1, 6),
    st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_the_largest_win_and_ties_go_to_the_lower_number(rows, k, dtype):
    scores = torch.tensor(rows, dtype=dtype)
    values, ids = top_k(scores, k)
    for row, found, numbers in zip(rows, values.tolist(), ids.tolist(), strict=True):
        expected = sorted(range(6), key=lambda number: (-row[number], number))[:k]
        assert sorted(numbers) == sorted(expected)
        assert [row[number] for number in numbers] == found


@pytest.mark.parametrize("block", [1, 7, 40, 1 << 20])
def test_equals_the_dense_computation_whatever_the_blocks(monkeypatch, block):
    monkeypatch.setattr(winners, "BLOCK_ELEMENTS", block)
    hidden, weight, bias = drawn(tokens=9, hidden_size=5, n=20)
    values, ids = token_winners(hidden, weight, bias, 4)
    assert values.shape == ids.shape == (9, 4)
    found = torch.zeros(9, 20, dtype=values.dtype).scatter_(1, ids, values)
    torch.testing.assert_close(found, dense(hidden, weight, bias, 4))
    assert ((found != 0).sum(1) == 4).all()


def test_pooling_takes_the_largest_of_each_text_and_nothing_negative():
    values = torch.tensor([[1.0, -2.0], [3.0, 0.5], [-1.0, -1.0]])
    ids = torch.tensor([[0, 1], [0, 2], [1, 3]])
    found = pool_winners(values, ids, torch.tensor([0, 0, 1]), 3, 4)
    assert found.tolist() == [[3.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]


def test_a_cap_keeps_the_largest_and_lets_gradients_through_them_only():
    activations = torch.tensor([[0.5, 2.0, 0.5, 0.0], [0.0, 0.0, 0.0, 1.0]], requires_grad=True)
    kept = keep_largest(activations, 2)
    assert kept.tolist() == [[0.5, 2.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
    kept.sum().backward()
    assert activations.grad[0].tolist() == [1, 1, 0, 0]
    assert keep_largest(activations, None) is activations
    assert keep_largest(activations, 4) is activations


class TestGradients:
    def test_are_those_of_the_dense_computation(self):
        hidden, weight, bias = (tensor.requires_grad_() for tensor in drawn(tokens=12, hidden_size=6, n=30))
        texts = torch.arange(12) // 4
        upstream = torch.randn(3, 30, dtype=torch.float64)
        found = torch.autograd.grad(pooled(hidden, weight, bias, 5, texts, 3), (hidden, weight, bias), upstream)
        expected = dense(hidden, weight, bias, 5).view(3, 4, 30).amax(1).relu()
        for mine, plain in zip(found, torch.autograd.grad(expected, (hidden, weight, bias), upstream), strict=True):
            torch.testing.assert_close(mine, plain)

    def test_match_finite_differences_while_the_winners_stay(self):
        inputs = tuple(tensor.requires_grad_() for tensor in drawn(tokens=6, hidden_size=4, n=12, seed=1))
        texts = torch.tensor([0, 0, 1, 1, 1, 1])
        assert torch.autograd.gradcheck(lambda *some: pooled(*some, 3, texts, 2), inputs, eps=1e-7, atol=1e-5)

    def test_of_losing_rows_is_exactly_zero(self):
        hidden, weight, bias = (tensor.requires_grad_() for tensor in drawn(tokens=5, hidden_size=8, n=200))
        result = pooled(hidden, weight, bias, 3, torch.zeros(5, dtype=torch.int64), 1)
        (result**2).sum().backward()
        losing = result[0] == 0
        assert 150 < losing.sum() < 200
        assert (weight.grad[losing] == 0).all()
        assert (bias.grad[losing] == 0).all()
        assert (weight.grad[~losing] != 0).any(1).all()

    def test_in_blocks_are_the_same(self, monkeypatch):
        hidden, weight, bias = (tensor.requires_grad_() for tensor in drawn(tokens=12, hidden_size=6, n=30))
        found = []
        for block in (1, 13, 1 << 20):
            monkeypatch.setattr(winners, "BLOCK_ELEMENTS", block)
            result = pooled(hidden, weight, bias, 5, torch.arange(12) // 4, 3)
            found.append(torch.autograd.grad(result.square().sum(), (hidden, weight, bias)))
        for other in found[1:]:
            for one, two in zip(found[0], other, strict=True):
                torch.testing.assert_close(one, two)


def test_mixed_precision_decides_in_the_precision_of_the_weights():
    hidden, weight, bias = drawn(tokens=4, hidden_size=16, n=50, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        values, ids = token_winners(hidden, weight, bias, 3)
    expected, numbers = token_winners(hidden, weight, bias, 3)
    assert values.dtype == torch.float32
    assert torch.equal(values, expected)
    assert torch.equal(ids, numbers)


def test_what_is_not_a_number_is_not_hidden():
    hidden, weight, bias = drawn(tokens=2, hidden_size=3, n=8)
    hidden[0, 0] = math.nan
    assert pooled(hidden, weight, bias, 2, torch.tensor([0, 1]), 2).isnan().any(1).tolist() == [True, False]


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation made."""

    numbers = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


def test_memory_never_holds_tokens_times_dimensions(monkeypatch):
    """n = 100,000 and 512 tokens: 51 million numbers at once would be needed, one block or one batch is held."""
    monkeypatch.setattr(winners, "BLOCK_ELEMENTS", 1 << 20)
    hidden, weight, bias = drawn(tokens=512, hidden_size=4, n=100_000, dtype=torch.float32)
    leaves = [tensor.requires_grad_() for tensor in (hidden, weight, bias)]
    with Largest() as watch:
        result = pooled(*leaves, 16, torch.arange(512) // 64, 8)
        result.square().sum().backward()
    assert result.shape == (8, 100_000)
    assert watch.numbers <= max(1 << 20, result.numel())
