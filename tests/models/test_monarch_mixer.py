from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from retrieval.errors import EncoderError
from retrieval.models.monarch_mixer import (
    MonarchMixerConfig,
    MonarchMixerForMaskedLM,
    MonarchMixerForSequenceClassification,
    MonarchMixerModel,
)
from retrieval.models.monarch_mixer.extension import extended
from retrieval.models.monarch_mixer.implicit_filter import HyenaFilter, positional_features
from retrieval.models.monarch_mixer.long_convolution import fast_length, two_sided_convolution
from retrieval.models.monarch_mixer.monarch_matrix import (
    BlockDiagonalLinear,
    block_diagonal_multiply,
    fourier_blocks,
    monarch_multiply,
)
from retrieval.models.monarch_mixer.parameter_groups import parameter_groups
from retrieval.models.registration import register_backbones
from tests.models.monarch_oracle import SMALL, direct_convolution, parameter_shapes, random_parameters, states


def small_model(kind=MonarchMixerModel, **changes):
    torch.manual_seed(0)
    model = kind(MonarchMixerConfig(**{**SMALL, **changes}))
    parameters = random_parameters(parameter_shapes(SMALL))
    encoder = model if kind is MonarchMixerModel else model.bert
    encoder.load_state_dict({name: torch.from_numpy(value) for name, value in parameters.items()}, strict=False)
    return model.double().eval()


class TestConvolution:
    @settings(max_examples=60)
    @given(st.integers(1, 70), st.integers(1, 3), st.integers(1, 3))
    def test_is_the_direct_sum(self, length, channels, batch):
        random = np.random.default_rng(length)
        x, forward, backward = (random.normal(size=(n, channels, length)) for n in (batch, 1, 1))
        found = two_sided_convolution(*map(torch.from_numpy, (x, forward[0], backward[0])))
        for row in range(batch):
            np.testing.assert_allclose(found[row], direct_convolution(x[row], forward[0], backward[0]), atol=1e-10)

    @pytest.mark.parametrize("t", [0, 3, 7])
    def test_an_impulse_spreads_to_both_sides(self, t):
        """Later positions see forward[lag], earlier ones backward[lag - 1], itself forward[0]; nothing wraps round."""
        x = torch.zeros(1, 1, 8, dtype=torch.float64)
        x[0, 0, t] = 1
        forward, backward = torch.arange(10.0, 18).double()[None], torch.arange(-20.0, -12).double()[None]
        found = two_sided_convolution(x, forward, backward)[0, 0].tolist()
        expected = [-20.0 + (t - at - 1) if at < t else 10.0 + (at - t) for at in range(8)]
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_more_channels_than_are_transformed_together(self):
        torch.manual_seed(0)
        x, forward, backward = torch.randn(2, 150, 9), torch.randn(150, 9), torch.randn(150, 9)
        found = two_sided_convolution(x, forward, backward)
        for channel in (0, 63, 64, 149):
            part = slice(channel, channel + 1)
            torch.testing.assert_close(
                found[:, part], two_sided_convolution(x[:, part], forward[part], backward[part]), atol=1e-5, rtol=0
            )

    def test_gradients(self):
        torch.manual_seed(0)
        x, forward, backward = (torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True) for _ in range(3))
        assert torch.autograd.gradcheck(lambda a, b, c: two_sided_convolution(a, b[0], c[0]), (x, forward, backward))

    @given(st.integers(1, 1 << 20))
    def test_fast_lengths(self, n):
        size = fast_length(n)
        assert size >= n
        assert size % 2 == 0
        odd = size
        while odd % 2 == 0:
            odd //= 2
        assert odd in (1, 3, 5, 9, 15)
        assert size <= max(2, 1.34 * n)


class TestMonarchMatrix:
    @pytest.mark.parametrize("n", [16, 64, 256])
    def test_the_fourier_transform_is_one(self, n):
        torch.manual_seed(0)
        x = torch.randn(3, n, dtype=torch.complex128)
        torch.testing.assert_close(monarch_multiply(x, *fourier_blocks(n)), torch.fft.fft(x), atol=1e-10, rtol=0)

    def test_needs_a_square(self):
        with pytest.raises(ValueError, match="12 is no square"):
            fourier_blocks(12)

    @given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))
    def test_blocks_are_a_dense_matrix(self, n_blocks, size_out, size_in):
        torch.manual_seed(0)
        blocks, x = torch.randn(n_blocks, size_out, size_in), torch.randn(2, 3, n_blocks * size_in)
        torch.testing.assert_close(block_diagonal_multiply(x, blocks), x @ torch.block_diag(*blocks).T)

    def test_one_block_is_a_linear_layer(self):
        layer, linear = BlockDiagonalLinear(8, 12, 1), torch.nn.Linear(8, 12)
        layer.weight.data[0], layer.bias.data = linear.weight.data, linear.bias.data
        x = torch.randn(5, 8)
        torch.testing.assert_close(layer(x), linear(x))

    def test_blocks_divide_the_parameters(self):
        weights = [BlockDiagonalLinear(24, 48, blocks, bias=False).weight.numel() for blocks in (1, 2, 4)]
        assert weights == [24 * 48, 24 * 48 // 2, 24 * 48 // 4]


class TestFilter:
    def test_features(self):
        """Re and Im of exp(-i f w), as complex numbers, and the time."""
        found = positional_features(12, 5).double().numpy()
        waves = np.exp(-1j * np.linspace(1e-4, 1, 2) * (2 * np.pi * np.arange(12) / 12)[:, None])
        np.testing.assert_allclose(found[:, 0], np.linspace(0, 1, 12), atol=1e-6)
        np.testing.assert_allclose(found[:, 1:], np.concatenate([waves.real, waves.imag], axis=1), atol=1e-6)

    def test_kernels_do_not_depend_on_the_length_that_is_asked_for(self):
        model = small_model()
        short, long = (model.encoder.layer[0].attention.filter_fn.kernels(length) for length in (5, 40))
        for ours, whole in zip(short, long, strict=True):
            torch.testing.assert_close(ours, whole[:, :5])

    def test_stays_exact_when_the_model_is_cast(self):
        model = MonarchMixerModel(MonarchMixerConfig(**SMALL)).bfloat16()
        for name, parameter in model.named_parameters():
            assert parameter.dtype == (torch.float32 if "filter_fn" in name else torch.bfloat16)
        assert model.double().encoder.layer[0].attention.filter_fn.bias.dtype == torch.float64

    def test_initial_values(self):
        torch.manual_seed(0)
        model = MonarchMixerModel(MonarchMixerConfig(**{**SMALL, "hidden_size": 512, "num_hidden_layers": 1}))
        part: HyenaFilter = model.encoder.layer[0].attention.filter_fn
        assert part.implicit_filter["1"].freq.unique().tolist() == [10.0]
        torch.testing.assert_close(part.pos_emb.z[0].detach(), positional_features(40, 5))
        assert abs(part.bias.std() - 1) < 0.15
        window = part.window(40)
        assert window[:, 0].unique().tolist() == [1.0]
        np.testing.assert_allclose(window[[0, -1], -1], [0.01 ** (1 / 1.5), 0.01 ** (1 / 0.3)], rtol=1e-4)


class TestNetwork:
    @pytest.mark.parametrize("length", [1, 2, 13, 40])
    def test_is_the_equations_with_a_direct_convolution(self, length):
        ids = np.random.default_rng(1).integers(1, SMALL["vocab_size"], length)
        found = small_model()(torch.from_numpy(ids)[None]).last_hidden_state[0].detach()
        expected = states(random_parameters(parameter_shapes(SMALL)), ids, longest=40)
        np.testing.assert_allclose(found, expected, atol=1e-5)  # the window is computed in float32

    def test_parameter_names(self):
        shapes = {name: tuple(value.shape) for name, value in small_model().state_dict().items()}
        assert shapes == parameter_shapes(SMALL)

    @pytest.mark.parametrize(("length", "parameters"), [(128, 80_235_264), (32_768, 109_219_584)])
    def test_number_of_parameters(self, length, parameters):
        """The released sizes are called 80M; the table of positions and the filters' features grow with the length."""
        with torch.device("meta"):
            model = MonarchMixerModel(MonarchMixerConfig(max_position_embeddings=length, long_conv_l_max=length))
        counted = sum(parameter.numel() for parameter in model.parameters())
        by_hand = 768 * (30_528 + length + 2 + 2) + 768 * 769  # embeddings with their norm, pooler
        network = 5 * 128 + 128 + 2 * (128 * 128 + 128) + 128 * 768
        mixer = 4 * 768 * 768 + 4 * 768 + 4 * 3 * 768 + 2 * (768 + 5 * length + 128 + 2 * network)
        feed_forward = 768 * 6144 // 4 + 3072 * 768 // 4 + 3 * 768
        assert counted == parameters == by_hand + 12 * (mixer + feed_forward)

    @settings(max_examples=40)
    @given(st.integers(1, 12), st.integers(0, 8), st.integers(0, 8))
    def test_padding_on_either_side_changes_nothing(self, length, left, right):
        model = small_model(pool_all=length % 2 == 0)
        ids = torch.randint(1, SMALL["vocab_size"], (length,), generator=torch.Generator().manual_seed(length))
        width = left + length + right
        batch, mask = torch.full((2, width), 7), torch.zeros(2, width, dtype=torch.int64)
        batch[0, left : left + length] = ids
        mask[0, left : left + length], mask[1] = 1, 1
        alone, together = model(ids[None]), model(batch, attention_mask=mask)
        found = together.last_hidden_state[0, left : left + length]
        torch.testing.assert_close(found, alone.last_hidden_state[0], atol=1e-8, rtol=0)
        torch.testing.assert_close(together.pooler_output[0], alone.pooler_output[0], atol=1e-8, rtol=0)

    def test_the_released_network_reads_padding(self):
        model = small_model(mask_padding=False)
        ids = torch.tensor([[5, 6, 7, 0, 0, 0]])
        padded = model(ids, attention_mask=(ids > 0).long()).last_hidden_state[:, :3]
        assert (padded - model(ids[:, :3]).last_hidden_state).abs().max() > 0.01
        torch.testing.assert_close(padded, model(ids).last_hidden_state[:, :3])

    def test_order_matters_and_both_sides_are_read(self):
        model = small_model(num_hidden_layers=1)
        ids = torch.randint(1, 133, (1, 20))
        for changed, watched in ((0, -1), (-1, 0)):
            other = ids.clone()
            other[0, changed] = ids[0, changed] % 132 + 1
            difference = model(other).last_hidden_state - model(ids).last_hidden_state
            assert difference[0, watched].abs().max() > 1e-4

    def test_without_the_second_convolution(self):
        names = MonarchMixerModel(MonarchMixerConfig(**SMALL, residual_long_conv=False)).state_dict()
        assert not any("filter_fn2" in name for name in names)

    def test_too_long_an_input(self):
        with pytest.raises(EncoderError, match="41 tokens, this model reads at most 40"):
            small_model()(torch.ones(1, 41, dtype=torch.int64))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [({"hidden_size": 18}, "hidden_size 18"), ({"intermediate_size": 25}, "25"), ({"hyena_emb_dim": 4}, "is 4")],
    )
    def test_settings_that_do_not_fit(self, changes, message):
        with pytest.raises(EncoderError, match=message):
            MonarchMixerConfig(**{**SMALL, **changes})


class TestHeads:
    def test_saved_and_loaded(self, tmp_path):
        register_backbones()
        model = small_model(MonarchMixerForMaskedLM).float()
        model.save_pretrained(tmp_path)
        ids = torch.randint(1, 133, (2, 9))
        again = MonarchMixerForMaskedLM.from_pretrained(tmp_path)
        torch.testing.assert_close(again(ids, labels=ids).loss, model(ids, labels=ids).loss)
        encoder = AutoModel.from_pretrained(tmp_path)
        assert isinstance(encoder, MonarchMixerModel)
        torch.testing.assert_close(encoder(ids)[0], model.bert(ids)[0])
        with pytest.raises(EncoderError, match=r"missing bert.pooler.dense.bias"):
            MonarchMixerForSequenceClassification.from_pretrained(tmp_path)

    def test_gradient_checkpointing_changes_nothing(self):
        gradients = []
        for checkpointing in (False, True):
            model = small_model(MonarchMixerForMaskedLM, hidden_dropout_prob=0.0).train()
            if checkpointing:
                model.activation_checkpointing_enable()
            ids = torch.arange(1, 15).reshape(2, 7)
            model(ids, labels=ids).loss.backward()
            gradients.append([parameter.grad for parameter in model.parameters()])
        for one, other in zip(*gradients, strict=True):
            torch.testing.assert_close(one, other)


class TestExtension:
    def test_tables_are_repeated(self):
        model = small_model()
        longer = extended(model, 100)
        ids = torch.randint(1, 133, (1, 100))
        assert longer(ids).last_hidden_state.shape == (1, 100, 16)
        assert longer.config.max_position_embeddings == longer.config.long_conv_l_max == 100
        table, repeated = (m.embeddings.position_embeddings.weight for m in (model, longer))
        torch.testing.assert_close(repeated, torch.cat([table, table, table[:20]]))
        z, repeated = (m.encoder.layer[1].attention.filter_fn2.pos_emb.z for m in (model, longer))
        torch.testing.assert_close(repeated, torch.cat([z, z, z[:, :20]], dim=1))
        assert model.config.long_conv_l_max == 40

    def test_to_the_same_length_is_a_copy(self):
        model, ids = small_model(), torch.randint(1, 133, (1, 30))
        torch.testing.assert_close(extended(model, 40)(ids)[0], model(ids)[0])

    def test_shorter(self):
        with pytest.raises(EncoderError, match="reads 40 tokens; it cannot be extended to 39"):
            extended(small_model(), 39)


class TestParameterGroups:
    def test_every_parameter_has_its_rate(self):
        model = small_model(MonarchMixerForMaskedLM)
        names = {parameter: name for name, parameter in model.named_parameters()}
        groups = parameter_groups(model, learning_rate=5e-4, weight_decay=1e-5)
        torch.optim.AdamW(groups)
        found = {names[p]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
        assert set(found) == set(names.values())
        filters = "bert.encoder.layer.1.attention.filter_fn2."
        assert found[f"{filters}pos_emb.z"] == (1e-5, 0)
        assert (
            found[f"{filters}implicit_filter.1.freq"] == found[f"{filters}implicit_filter_rev.6.weight"] == (1e-3, 0.1)
        )
        assert found[f"{filters}bias"] == found["bert.embeddings.LayerNorm.weight"] == (5e-4, 0)
        assert found["bert.encoder.layer.0.mlp.wo.weight"] == (5e-4, 1e-5)
