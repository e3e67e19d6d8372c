"""Packed execution computes what the padded network computes, for any mixture of lengths, and touches no padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from retrieval.execution.packed import PackedNetwork, packed_network
from tests.execution.networks import FAMILIES, LONGEST, PAD_IDS, batch_of, build

LENGTHS = st.lists(st.integers(1, LONGEST), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def networks():
    return {family: build(family) for family in FAMILIES}


@pytest.fixture(scope="module")
def packed(networks):
    return {
        (family, copied): packed_network(network, copied=copied)
        for family, network in networks.items()
        for copied in (False, True)
    }


def padded_states(network, batch, family) -> list[np.ndarray]:
    """Return the states of each text, (length, d), as the library computes them, one text at a time."""
    found = []
    for start, length in zip(np.cumsum(batch.lengths) - batch.lengths, batch.lengths, strict=True):
        rows = slice(int(start), int(start + length))
        given = {"input_ids": torch.from_numpy(batch.ids[None, rows])}
        if batch.segments is not None:
            given["token_type_ids"] = torch.from_numpy(batch.segments[None, rows])
        with torch.inference_mode():
            found.append(network(**given).last_hidden_state[0].numpy())
    return found


def packed_states(network: PackedNetwork, batch) -> list[np.ndarray]:
    with torch.inference_mode():
        states, offsets, order = network.states(batch)
    found = [np.empty(0)] * len(order)
    for number, (start, end) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        found[order[number]] = states[start:end].numpy()
    return found


@pytest.mark.parametrize("copied", [False, True], ids=["shared", "copied"])
@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_packed_equals_padded(networks, packed, family, copied, lengths, seed):
    batch = batch_of(lengths, seed)
    expected = padded_states(networks[family], batch, family)
    largest = max(1.0, *(float(np.abs(state).max()) for state in expected))  # of states of unit variance: some units
    for found, state in zip(packed_states(packed[family, copied], batch), expected, strict=True):
        np.testing.assert_allclose(found, state, atol=1e-5 * largest)


@pytest.mark.parametrize("family", FAMILIES)
def test_first_states_are_those_of_the_first_tokens(networks, packed, family):
    batch = batch_of([5, LONGEST, 1, 7, 5], seed=3)
    expected = [states[0] for states in padded_states(networks[family], batch, family)]
    with torch.inference_mode():
        for copied in (False, True):
            np.testing.assert_allclose(packed[family, copied].first_states(batch), expected, atol=1e-5)


@pytest.mark.parametrize("family", ["Bert", "Electra"])
def test_segments_are_read(networks, packed, family):
    batch = batch_of([9, 3, 12], seed=1, segments=True)
    other = batch._replace(segments=None)
    expected = padded_states(networks[family], batch, family)
    for found, state in zip(packed_states(packed[family, False], batch), expected, strict=True):
        np.testing.assert_allclose(found, state, atol=1e-5)
    assert np.abs(packed_states(packed[family, False], other)[0] - expected[0]).max() > 1e-3


def test_the_token_that_pads_may_stand_in_a_text(networks, packed):
    """RoBERTa's positions skip it; texts behind one that holds it must not notice."""
    batch = batch_of([6, 6, 3], seed=5)
    batch.ids[[2, 7]] = PAD_IDS["Roberta"]
    expected = padded_states(networks["Roberta"], batch, "Roberta")
    for found, state in zip(packed_states(packed["Roberta", False], batch), expected, strict=True):
        np.testing.assert_allclose(found, state, atol=1e-5)


@pytest.mark.parametrize("family", ["Bert", "MPNet"])
def test_bf16_differs_by_rounding(networks, family):
    import copy

    half = copy.deepcopy(networks[family]).to(torch.bfloat16)
    batch = batch_of([LONGEST, 3, 17, 3, 1], seed=2)
    exact = padded_states(networks[family], batch, family)
    for copied in (False, True):
        with torch.inference_mode():
            states, offsets, order = packed_network(half, copied=copied).states(batch)
        for number, text in enumerate(order.tolist()):
            found = states[offsets[number] : offsets[number + 1]].float().mean(dim=0).numpy()
            mean = exact[text].mean(axis=0)
            assert found @ mean / np.linalg.norm(found) / np.linalg.norm(mean) > 0.999


def test_every_token_goes_through_a_layer_once_and_no_padding(networks):
    network = networks["Bert"]
    rows = []
    hooks = [
        layer.intermediate.dense.register_forward_hook(lambda _, given, __: rows.append(given[0].shape[0]))
        for layer in network.encoder.layer
    ]
    batch = batch_of([LONGEST, 1, 13, 2])
    with torch.inference_mode():
        packed_network(network).states(batch)
        assert rows == [len(batch.ids)] * 2
        rows.clear()
        packed_network(network).first_states(batch)
    assert rows == [len(batch.ids), 4]
    for hook in hooks:
        hook.remove()


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that an operation gave."""

    numbers = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        for each in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(each, torch.Tensor):
                self.numbers = max(self.numbers, each.numel())
        return result


def test_memory_grows_with_the_length_not_with_its_square():
    network = build("Bert", max_position_embeddings=8192, num_hidden_layers=1)
    packed = packed_network(network)
    with torch.inference_mode(), Largest() as largest:
        packed.states(batch_of([8192]))
    assert largest.numbers <= 8192 * network.config.intermediate_size < 8192 * 8192 // 100


def test_what_its_owner_changes_in_a_network_counts():
    network = build("Bert")
    batch = batch_of([4, 9])
    found = packed_network(network)
    before = packed_states(found, batch)
    with torch.no_grad():
        network.encoder.layer[1].output.dense.bias[3] += 1.0
    for after, state, expected in zip(
        packed_states(found, batch), before, padded_states(network, batch, "Bert"), strict=True
    ):
        assert np.abs(after - state).max() > 0.01
        np.testing.assert_allclose(after, expected, atol=1e-5)


def test_networks_that_are_not_known():
    import transformers

    assert packed_network(build("Bert", is_decoder=True)) is None
    albert = transformers.AlbertModel(
        transformers.AlbertConfig(
            vocab_size=60, hidden_size=32, num_attention_heads=4, intermediate_size=64, embedding_size=16
        )
    )
    assert packed_network(albert) is None
