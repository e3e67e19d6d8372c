"""MaxSim: against a loop over tokens, padded and packed, and what follows from its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from indexes.token_vectors import TokenVectors
from retrieval.models.rankers import maxsim as module
from retrieval.models.rankers.maxsim import maxsim, maxsim_packed
from retrieval.models.rankers.packed import kept_first, pack, padded


def by_hand(query, passage):
    return sum(max(float(np.dot(q, p)) for p in passage) for q in query)


def drawn(seed, lengths, width=6, dtype=np.float32):
    numbers = np.random.default_rng(seed)
    return [numbers.normal(size=(length, width)).astype(dtype) for length in lengths]


def packed_of(arrays, width=6, dtype=np.float32):
    offsets = np.cumsum([0, *map(len, arrays)])
    return TokenVectors(offsets, np.concatenate([np.empty((0, width), dtype), *arrays]))


@settings(max_examples=60)
@given(st.integers(0, 99), st.integers(1, 5), st.lists(st.integers(0, 9), max_size=12), st.integers(1, 20))
def test_packed_is_the_loop_whatever_the_blocks(seed, n_query, lengths, block):
    query, *passages = drawn(seed, [n_query, *lengths])
    before, module._BLOCK = module._BLOCK, block
    try:
        found = maxsim_packed(torch.from_numpy(query), packed_of(passages))
    finally:
        module._BLOCK = before
    expected = [by_hand(query, passage) if len(passage) else -np.inf for passage in passages]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@settings(max_examples=40)
@given(st.integers(0, 99), st.lists(st.tuples(st.integers(1, 4), st.integers(1, 7)), min_size=1, max_size=6))
def test_padded_is_the_loop_whatever_stands_in_the_padding(seed, sizes):
    queries = drawn(seed, [size for size, _ in sizes])
    passages = drawn(seed + 1, [size for _, size in sizes])
    noise = np.random.default_rng(seed).normal(scale=100, size=(2, len(sizes), 9, 6)).astype(np.float32)
    masks = np.zeros((2, len(sizes), 9), bool)
    for side, arrays in enumerate((queries, passages)):
        for row, array in enumerate(arrays):
            noise[side, row, : len(array)] = array
            masks[side, row, : len(array)] = True
    states, mask = torch.from_numpy(noise), torch.from_numpy(masks)
    found = maxsim(states[0], mask[0], states[1], mask[1])
    expected = [by_hand(*pair) for pair in zip(queries, passages, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_float16_states_are_read_as_they_are():
    query, *passages = drawn(3, [4, 5, 0, 2])
    half = packed_of([passage.astype(np.float16) for passage in passages], dtype=np.float16)
    found = maxsim_packed(torch.from_numpy(query), half)
    rounded = [by_hand(query, p.astype(np.float16).astype(np.float32)) if len(p) else -np.inf for p in passages]
    np.testing.assert_allclose(found, rounded, rtol=1e-5)


def test_one_token_each_is_an_inner_product():
    query, passage = drawn(0, [1, 1])
    one = torch.ones((1, 1), dtype=torch.bool)
    found = maxsim(torch.from_numpy(query)[None], one, torch.from_numpy(passage)[None], one)
    assert found.item() == pytest.approx(float(query[0] @ passage[0]), rel=1e-6)


@given(st.integers(0, 999), st.integers(1, 6), st.integers(1, 6))
def test_more_tokens_of_a_passage_never_lower_the_score(seed, n, more):
    query, passage, added = drawn(seed, [3, n, more])
    found = maxsim_packed(torch.from_numpy(query), packed_of([passage, np.concatenate([passage, added])]))
    assert found[1] >= found[0] - 1e-5


def test_gradients_are_those_of_finite_differences():
    query, passage = (torch.from_numpy(each)[None].double().requires_grad_() for each in drawn(1, [3, 4]))
    query_mask, passage_mask = torch.tensor([[True, True, False]]), torch.tensor([[True, True, True, False]])

    def double(q, p):  # float32 is too coarse for differences; the steps are those of the function
        found = (q @ p.transpose(1, 2)).masked_fill(~passage_mask[:, None], -torch.inf).max(dim=2).values
        return found.masked_fill(~query_mask, 0.0).sum(dim=1)

    assert torch.autograd.gradcheck(double, (query, passage))
    expected = torch.autograd.grad(double(query, passage).sum(), (query, passage))
    found = torch.autograd.grad(maxsim(query, query_mask, passage, passage_mask).sum(), (query, passage))
    for each, other in zip(found, expected, strict=True):
        torch.testing.assert_close(each, other, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 99), st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(1, 4))
def test_packing_and_padding_undo_each_other(seed, lengths, at_once):
    arrays = drawn(seed, lengths)
    packed = packed_of(arrays)
    order = np.random.default_rng(seed).permutation(len(lengths))
    batches = [(rows, *padded(packed, rows)) for rows in np.array_split(order, -(-len(order) // at_once))]
    again = pack(batches, len(lengths), 6, np.dtype("float32"))
    np.testing.assert_array_equal(again.offsets, packed.offsets)
    np.testing.assert_array_equal(again.values, packed.values)


def test_what_is_kept_comes_first_in_its_order():
    states = torch.arange(8.0).reshape(2, 4, 1)
    kept = torch.tensor([[False, True, False, True], [True, True, True, False]])
    first, mask = kept_first(states, kept)
    assert mask.tolist() == [[True, True, False], [True, True, True]]
    assert first[0, :2, 0].tolist() == [1, 3]
    assert first[1, :, 0].tolist() == [4, 5, 6]
