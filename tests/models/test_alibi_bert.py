from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.errors import EncoderError
from retrieval.models.alibi_bert import (
    AlibiBertConfig,
    AlibiBertForMaskedLM,
    AlibiBertForSequenceClassification,
    AlibiBertModel,
    attention,
    modeling,
)
from retrieval.models.alibi_bert.alibi import alibi_bias, alibi_slopes, reversed_alibi_bias
from retrieval.models.alibi_bert.attention import AlibiAttention
from tests.models.alibi_oracle import SMALL, parameter_shapes, published_slopes, random_parameters, states

FAMILIES = ["jina-bert-v2", "jina-bert-v2-qk-post-norm"]
MODES = ["dense", "streamed", "blockwise"]


def small_model(family: str = "jina-bert-v2", **changes) -> AlibiBertModel:
    torch.manual_seed(0)
    model = AlibiBertModel(AlibiBertConfig(**SMALL, family=family, **changes))
    parameters = random_parameters(parameter_shapes(family, SMALL))
    model.load_state_dict({name: torch.from_numpy(value) for name, value in parameters.items()})
    return model.double().eval()


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture(params=MODES)
def mode(request, monkeypatch) -> str:
    monkeypatch.setattr(attention, "BLOCK_ELEMENTS", 6 * 9 * 4)  # blocks of four queries for one text of nine tokens
    return request.param


class TestSlopesAndBias:
    def test_eight_heads(self):
        assert alibi_slopes(8).tolist() == [2.0**-power for power in range(1, 9)]

    def test_twelve_heads(self):
        powers = [*range(1, 9), 0.5, 1.5, 2.5, 3.5]
        np.testing.assert_allclose(alibi_slopes(12), [2.0**-power for power in powers], rtol=1e-6)

    @pytest.mark.parametrize("n_heads", range(1, 40))
    def test_any_number_of_heads(self, n_heads):
        np.testing.assert_allclose(alibi_slopes(n_heads), published_slopes(n_heads), rtol=1e-6)

    def test_no_heads(self):
        with pytest.raises(ValueError, match="at least one head, not 0"):
            alibi_slopes(0)

    def test_bias(self):
        bias = alibi_bias(alibi_slopes(8), torch.arange(5), torch.arange(5))
        assert torch.equal(bias, bias.transpose(1, 2))
        assert not bias.diagonal(dim1=1, dim2=2).any()
        assert bias[0, 0].tolist() == [0, -0.5, -1, -1.5, -2]
        assert bias[2, 4].tolist() == [-0.5, -0.375, -0.25, -0.125, 0]

    @given(st.integers(1, 12), st.integers(1, 40))
    def test_reversed_bias_is_the_bias_upside_down(self, n_heads, length):
        slopes, positions = alibi_slopes(n_heads), torch.arange(length)
        found = reversed_alibi_bias(slopes, length)
        assert torch.equal(found.flip(1), alibi_bias(slopes, positions, positions))
        assert found.untyped_storage().nbytes() == n_heads * (2 * length - 1) * 4


class TestNetwork:
    @pytest.mark.parametrize("feed_forward_type", ["geglu", "reglu"])
    def test_is_the_equations(self, family, mode, feed_forward_type):
        model = small_model(family, attention_mode=mode, feed_forward_type=feed_forward_type)
        ids = np.random.default_rng(1).integers(1, SMALL["vocab_size"], 9)
        parameters = random_parameters(parameter_shapes(family, SMALL))
        expected = states(parameters, ids, n_heads=6, family=family, feed_forward_type=feed_forward_type)
        found = model(torch.from_numpy(ids)[None]).last_hidden_state[0]
        np.testing.assert_allclose(found.detach(), expected, atol=1e-9)

    @pytest.mark.parametrize(
        ("changes", "published"),
        [
            (
                {"hidden_size": 512, "num_hidden_layers": 4, "num_attention_heads": 8, "intermediate_size": 2048},
                32690688,
            ),
            ({}, 137368320),
        ],
        ids=["small", "base"],
    )
    def test_number_of_parameters(self, changes, published):
        """The published counts of jina-embeddings-v2-small-en and -base-en."""
        with torch.device("meta"):
            model = AlibiBertModel(AlibiBertConfig(**changes))
        assert sum(parameter.numel() for parameter in model.parameters()) == published

    def test_parameter_names(self, family):
        shapes = {name: tuple(value.shape) for name, value in small_model(family).state_dict().items()}
        assert shapes == parameter_shapes(family, SMALL)

    @settings(max_examples=25)
    @given(st.integers(1, 9), st.integers(0, 5), st.integers(0, 5), st.sampled_from(MODES), st.sampled_from(FAMILIES))
    def test_padding_on_either_side_changes_nothing(self, length, left, right, mode, family):
        """No positions: the same text further right, alone or in a batch, has the same states."""
        model = small_model(family, attention_mode=mode)
        ids = torch.randint(1, SMALL["vocab_size"], (length,), generator=torch.Generator().manual_seed(length))
        width = left + length + right
        batch, mask = torch.full((2, width), 7), torch.zeros(2, width, dtype=torch.int64)
        batch[0, left : left + length] = ids
        mask[0, left : left + length], mask[1] = 1, 1
        alone = model(ids[None])
        together = model(batch, attention_mask=mask)
        found = together.last_hidden_state[0, left : left + length]
        torch.testing.assert_close(found, alone.last_hidden_state[0], atol=1e-9, rtol=0)
        torch.testing.assert_close(together.pooler_output[0], alone.pooler_output[0], atol=1e-9, rtol=0)

    def test_reversed_text_has_reversed_states(self, family, mode):
        model = small_model(family, attention_mode=mode)
        ids = torch.randint(1, SMALL["vocab_size"], (1, 9))
        forwards, backwards = model(ids).last_hidden_state, model(ids.flip(1)).last_hidden_state
        torch.testing.assert_close(backwards.flip(1), forwards, atol=1e-9, rtol=0)

    def test_order_matters(self):
        ids = torch.tensor([[5, 6, 7, 8, 9]])
        model = small_model()
        swapped = model(ids[:, [0, 1, 3, 2, 4]]).last_hidden_state[:, [0, 1, 3, 2, 4]]
        assert (model(ids).last_hidden_state - swapped).abs().max() > 1e-3

    def test_without_slopes_it_is_a_bag_of_tokens(self, family, mode, monkeypatch):
        monkeypatch.setattr(modeling, "alibi_slopes", torch.zeros)
        model = small_model(family, attention_mode=mode)
        ids, order = torch.randint(1, SMALL["vocab_size"], (1, 9)), torch.randperm(9)
        torch.testing.assert_close(
            model(ids[:, order]).last_hidden_state, model(ids).last_hidden_state[:, order], atol=1e-9, rtol=0
        )

    def test_states_of_all_layers(self):
        model, ids = small_model(), torch.tensor([[5, 6, 7]])
        found = model(ids, output_hidden_states=True)
        assert len(found.hidden_states) == 3
        assert torch.equal(found.hidden_states[-1], found.last_hidden_state)
        torch.testing.assert_close(found.hidden_states[0], model.embeddings(ids, None, None))
        assert model(ids).hidden_states is None

    def test_token_types(self):
        model, ids = small_model(), torch.tensor([[5, 6, 7]])
        types = torch.tensor([[0, 0, 1]])
        assert not torch.allclose(model(ids, token_type_ids=types)[0], model(ids)[0])
        torch.testing.assert_close(model(ids, token_type_ids=0 * types)[0], model(ids)[0])

    def test_embeddings_instead_of_ids(self):
        model, ids = small_model(), torch.tensor([[5, 6, 7]])
        torch.testing.assert_close(model(inputs_embeds=model.get_input_embeddings()(ids))[0], model(ids)[0])
        with pytest.raises(ValueError, match="exactly one"):
            model()

    @pytest.mark.parametrize(
        "changes",
        [{"family": "bert"}, {"feed_forward_type": "original"}, {"attention_mode": "sparse"}, {"hidden_size": 25}],
    )
    def test_settings_that_do_not_exist(self, changes):
        with pytest.raises(EncoderError, match=str(next(iter(changes.values())))):
            AlibiBertConfig(**{**SMALL, **changes})


class TestAttention:
    def tensors(self, shape, dtype=torch.float32):
        torch.manual_seed(3)
        return [torch.randn(shape, dtype=dtype).requires_grad_() for _ in range(3)]

    @pytest.mark.parametrize("padded", [False, True])
    @pytest.mark.parametrize("mode", ["streamed", "blockwise"])
    def test_at_2048_tokens_is_the_dense_one(self, mode, padded):
        """Values and gradients."""
        batch, n_heads, length = 2, 4, 2048
        heads = self.tensors((batch, n_heads, length, 8))
        mask = torch.ones(batch, length)
        if padded:
            mask[0, :100], mask[1, 1500:] = 0, 0
        read = mask[:, None, :, None]
        weights = torch.randn(batch, n_heads, length, 8) * read
        found = {}
        for way in ("dense", mode):
            attend = AlibiAttention.prepare(
                alibi_slopes(n_heads), mask if padded else None, (batch, length), dtype=torch.float32, mode=way
            )
            assert attend.mode == way
            output = attend(*heads)
            found[way] = [output * read, *torch.autograd.grad((output * weights).sum(), heads)]
        for ours, dense in zip(found[mode], found["dense"], strict=True):
            torch.testing.assert_close(ours, dense, atol=2e-5, rtol=1e-4)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    @pytest.mark.parametrize("mode", MODES)
    def test_mask_and_bias_together_are_finite(self, mode, dtype):
        heads = self.tensors((3, 8, 300, 8), dtype)
        mask = torch.ones(3, 300)
        mask[0, 1:], mask[1, 5:200], mask[2] = 0, 0, 0  # one token; a hole; nothing
        attend = AlibiAttention.prepare(alibi_slopes(8), mask, (3, 300), dtype=dtype, mode=mode)
        output = attend(*heads)
        assert attend.mode == ("blockwise" if mode == "streamed" else mode)
        assert output.isfinite().all()
        torch.testing.assert_close(output[0, :, 7], heads[2][0, :, 0])  # all that there is to attend to

    def test_padding_between_tokens(self):
        heads = self.tensors((2, 4, 40, 8))
        mask = torch.ones(2, 40)
        mask[0, 10:20] = 0
        found = [
            AlibiAttention.prepare(alibi_slopes(4), mask, (2, 40), dtype=torch.float32, mode=mode)(*heads)
            for mode in ("dense", "streamed")
        ]
        torch.testing.assert_close(found[1], found[0])

    @pytest.mark.parametrize(
        ("shape", "padded", "dropout", "chosen"),
        [
            ((4, 64), False, 0.0, "streamed"),
            ((4, 64), True, 0.0, "dense"),
            ((4, 2048), True, 0.0, "streamed"),
            ((4, 64), False, 0.1, "blockwise"),
        ],
    )
    def test_chosen_way(self, shape, padded, dropout, chosen):
        mask = torch.ones(shape)
        if padded:
            mask[0, -1] = 0
        attend = AlibiAttention.prepare(alibi_slopes(8), mask, shape, dtype=torch.float32, dropout=dropout)
        assert attend.mode == chosen

    @pytest.mark.parametrize("mode", ["dense", "blockwise"])
    def test_dropout_keeps_the_mean(self, mode):
        query, key, _ = self.tensors((1, 1, 64, 4))
        value = torch.ones(1, 1, 64, 4)
        attend = AlibiAttention.prepare(alibi_slopes(1), None, (1, 64), dtype=torch.float32, mode=mode, dropout=0.5)
        output = attend(query, key, value, dropout=0.5)
        assert output.std() > 0.01
        assert abs(output.mean() - 1) < 0.2

    @pytest.mark.slow
    @pytest.mark.parametrize("mode", ["streamed", "blockwise"])
    @pytest.mark.parametrize("training", [False, True])
    def test_memory_grows_with_the_length(self, mode, training):
        """At 8192 tokens the biases of 4 heads alone would take 1 GiB."""
        work = f"""
import torch
from eval.benchmarks.processes import peak_memory
from retrieval.models.alibi_bert import AlibiBertConfig, AlibiBertModel
model = AlibiBertModel(AlibiBertConfig(vocab_size=99, hidden_size=64, num_hidden_layers=1, num_attention_heads=4,
    intermediate_size=64, attention_mode={mode!r}, hidden_dropout_prob=0.0)).train({training})
before = peak_memory()
with torch.set_grad_enabled({training}):
    found = model(torch.randint(1, 99, (1, 8192))).last_hidden_state
    if {training}:
        found.square().sum().backward()
print((peak_memory() - before) >> 20)
"""
        done = subprocess.run(
            [sys.executable, "-c", work],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "1048576"},  # what is freed is given back
        )
        assert int(done.stdout) < 200


class TestHeads:
    def test_masked_language_model(self):
        model = AlibiBertForMaskedLM(AlibiBertConfig(**SMALL)).eval()
        ids, labels = torch.randint(1, 133, (2, 7)), torch.full((2, 7), -100)
        labels[1, 3] = 5
        found = model(ids, labels=labels)
        assert found.logits.shape == (2, 7, 133)
        torch.testing.assert_close(found.loss, -found.logits[1, 3].log_softmax(dim=0)[5])
        assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
        assert model.cls.predictions.decoder.bias is model.cls.predictions.bias

    def test_vocabulary_can_grow(self):
        model = AlibiBertForMaskedLM(AlibiBertConfig(**SMALL)).eval()
        model.resize_token_embeddings(140)
        assert model(torch.tensor([[139]])).logits.shape == (1, 1, 140)

    def test_classification(self):
        torch.manual_seed(0)
        model = AlibiBertForSequenceClassification(AlibiBertConfig(**SMALL, num_labels=1)).eval()
        ids = torch.tensor([[0, 0, 4, 5, 6], [7, 8, 9, 10, 11]])
        mask = (ids > 0).long()
        found = model(ids, attention_mask=mask, labels=torch.tensor([1.0, 0.0]))
        first = model.bert(ids[:1, 2:]).last_hidden_state[:, 0]
        expected = model.classifier(torch.tanh(model.bert.pooler.dense(first)))
        torch.testing.assert_close(found.logits[:1], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(found.loss, ((found.logits[:, 0] - torch.tensor([1.0, 0.0])) ** 2).mean())

    def test_gradient_checkpointing_changes_nothing(self, family):
        gradients = []
        for checkpointing in (False, True):
            torch.manual_seed(0)
            model = AlibiBertForMaskedLM(AlibiBertConfig(**SMALL, family=family, hidden_dropout_prob=0.0)).train()
            if checkpointing:
                model.activation_checkpointing_enable()
            ids = torch.arange(1, 15).reshape(2, 7)
            model(ids, labels=ids).loss.backward()
            gradients.append(model.bert.embeddings.word_embeddings.weight.grad)
        torch.testing.assert_close(gradients[0], gradients[1])
