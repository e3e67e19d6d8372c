"""Eight bits: products within their bound, scores that no company changes, and a precision like others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import spearmanr

from retrieval.errors import RerankerError
from retrieval.models.int8_linear import Int8Linear, quantised_rows
from retrieval.rerankers import load_reranker
from tests.rerankers.test_early_exit import with_off_ramps
from tests.rerankers.test_mono import candidates, texts_of

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def lists():
    random = np.random.default_rng(1)
    return texts_of(random, 5, 5), [candidates(*texts_of(random, n, 14)) for n in (10, 0, 20, 1, 12)]


@settings(max_examples=50)
@given(hnp.arrays(np.float32, (3, 7), elements=st.floats(-100, 100, width=32)))
def test_an_element_is_off_by_half_a_scale(values):
    quantised, scale = quantised_rows(torch.from_numpy(values))
    restored = quantised.double().numpy() * scale.double().numpy()
    assert (np.abs(restored - values) <= scale.numpy() * (0.5 + 1e-4)).all()
    assert quantised.dtype == torch.int8
    assert int(quantised.abs().max()) <= 127


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(2, 40), st.integers(1, 20), st.booleans(), st.integers(0, 100))
def test_a_layer_is_the_product_of_what_was_quantised(n, inputs, outputs, has_bias, seed):
    """Against integers in numpy, and within the bound that half a scale on each side leaves."""
    torch.manual_seed(seed)
    linear = torch.nn.Linear(inputs, outputs, bias=has_bias)
    x = torch.randn(2, n, inputs)
    found = Int8Linear(linear)(x).double().numpy()
    with torch.no_grad():
        exact = linear(x).double().numpy()
    rows = x.reshape(-1, inputs).numpy()
    weight = linear.weight.detach().numpy()
    s_x = np.abs(rows).max(axis=1) / 127
    s_w = np.abs(weight).max(axis=1) / 127
    q_x = np.round(rows / s_x[:, None]).astype(np.int64)
    q_w = np.round(weight / s_w[:, None]).astype(np.int64)
    expected = (q_x @ q_w.T) * np.outer(s_x, s_w)
    if has_bias:
        expected = expected + linear.bias.detach().numpy()
    np.testing.assert_allclose(found.reshape(-1, outputs), expected, rtol=1e-4, atol=1e-5)
    bound = 0.5 * (np.abs(rows).sum(axis=1)[:, None] * s_w + np.abs(weight).sum(axis=1) * s_x[:, None])
    bound += 0.25 * inputs * np.outer(s_x, s_w)
    assert (np.abs(found - exact).reshape(-1, outputs) <= bound + 1e-5).all()


def test_a_layer_of_one_input_stays_as_it_is():
    with pytest.raises(RerankerError, match="1 inputs is not quantised"):
        Int8Linear(torch.nn.Linear(1, 2))


def test_zeros_stay_zeros_and_what_is_not_finite_is_seen():
    linear = torch.nn.Linear(4, 3, bias=False)
    layer = Int8Linear(linear)
    assert torch.equal(layer(torch.zeros(2, 4)), torch.zeros(2, 3))
    for value in (float("nan"), float("inf"), -float("inf")):
        found = layer(torch.tensor([[1.0, value, 0.0, 2.0], [1.0, 2.0, 3.0, 4.0]]))
        assert not torch.isfinite(found[0]).any()
        assert torch.isfinite(found[1]).all()
    with torch.no_grad():
        linear.weight[0, 0] = float("nan")
    assert torch.isnan(Int8Linear(linear)(torch.ones(1, 4))[0, 0])


@pytest.mark.parametrize("kind", ["bert", "roberta", "distil", "alibi"])
def test_the_order_is_nearly_that_of_fp32(kind, classifier, lists):
    short = [candidates(*(text[:30] for text in given.texts)) for given in lists[1]]
    exact = np.concatenate(load_reranker(classifier(kind), device="cpu").score(lists[0], short))
    eight = load_reranker(classifier(kind), precision="int8")
    found = np.concatenate(eight.score(lists[0], short))
    assert eight.execution()["precision"] == "int8"
    assert np.abs(found - exact).max() > 0
    assert spearmanr(found, exact).statistic > 0.99


@pytest.mark.parametrize("batch_tokens", [1, 60])
def test_company_changes_nothing(batch_tokens, classifier, lists):
    """A scale is of one row; the rounding that batches bring in elsewhere may move an element by one step."""
    expected = np.concatenate(load_reranker(classifier(), precision="int8").score(*lists))
    found = np.concatenate(load_reranker(classifier(), precision="int8", batch_tokens=batch_tokens).score(*lists))
    np.testing.assert_allclose(found, expected, atol=0.02 * expected.std())
    assert np.median(np.abs(found - expected)) < 1e-5


def test_the_neutral_setting_is_fp32_and_the_identity_stays(classifier, lists):
    plain, neutral, eight = (
        load_reranker(classifier(), device="cpu", **settings)
        for settings in ({}, {"precision": "fp32"}, {"precision": "int8"})
    )
    assert plain.identity() == eight.identity()
    np.testing.assert_array_equal(np.concatenate(plain.score(*lists)), np.concatenate(neutral.score(*lists)))


def test_a_loaded_cross_encoder_keeps_its_own_precision(classifier, lists):
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(classifier()), device="cpu")
    before = load_reranker(model).score(*lists)
    eight = load_reranker(model, precision="int8")
    loaded = np.concatenate(load_reranker(classifier(), precision="int8").score(*lists))
    np.testing.assert_allclose(np.concatenate(eight.score(*lists)), loaded, atol=0.02 * loaded.std())
    np.testing.assert_array_equal(np.concatenate(load_reranker(model).score(*lists)), np.concatenate(before))


def test_with_early_exits(classifier, lists, tmp_path):
    folder = with_off_ramps(tmp_path / "model", classifier(layers=4))
    never = load_reranker(folder, precision="int8", exit_entropy=0).score(*lists)
    plain = load_reranker(folder, precision="int8").score(*lists)
    np.testing.assert_array_equal(np.concatenate(never), np.concatenate(plain))
    early = load_reranker(folder, precision="int8", exit_entropy=1.0)
    assert early.score_with_layers(*lists).mean_layers == 1
    assert early.execution()["precision"] == "int8"


def test_what_cannot_be_in_eight_bits(classifier):
    with pytest.raises(RerankerError, match="unknown precision 'int4': one of fp32, bf16, fp16, auto, int8"):
        load_reranker(classifier(), precision="int4")
    with pytest.raises(RerankerError, match="int8 is for transformers' models with linear layers"):
        load_reranker(classifier("causal"), precision="int8")
