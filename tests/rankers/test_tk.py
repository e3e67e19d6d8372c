"""TK in both forms: kernels that count, scores made by hand, and what the score does not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from retrieval.errors import RerankerError
from retrieval.models.rankers.kernel_pooling import MEANS, WIDTH, cosines, kernel_sums
from retrieval.models.rankers.tk import TKSettings, TransformerKernel, sinusoids
from retrieval.rerankers import load_reranker
from retrieval.training.builders import tk as builder
from tests.rankers.conftest import PASSAGES, QUERIES
from tests.rankers.students import all_rows, lists, scores_of, train

pytestmark = pytest.mark.usefixtures("own_cache")

SMALL = {"query_tokens": 10, "passage_tokens": 40}
FORMS = ["improved", "original"]


@pytest.fixture
def network(backbone, seeded):
    def make(form="improved", **settings):
        return builder.build_model(backbone=backbone(), form=form, **SMALL | settings).eval()

    return make


def with_settings(network, **changes):
    """The same weights under other settings."""
    import msgspec

    settings = msgspec.structs.replace(network.settings, **changes)
    made = TransformerKernel(network.tokenizer, settings).eval()
    kept = {name: value for name, value in network.state_dict().items() if not name.startswith("scoring.")}
    made.load_state_dict(network.state_dict() if len(settings.means) == len(MEANS) else kept, strict=False)
    return made


# -------------------------------------------------------------------------------------------------------------- kernels


def test_there_are_eleven_kernels():
    assert len(MEANS) == 11
    assert (max(MEANS), min(MEANS), WIDTH) == (1.0, -0.9, 0.1)


@given(st.sampled_from(MEANS), st.floats(-1, 1, width=32))
def test_a_kernel_peaks_at_its_mean(mean, cosine):
    mask = torch.ones((1, 1), dtype=torch.bool)
    at, off = (kernel_sums(torch.tensor([[[each]]]), mask, [mean], [WIDTH]).item() for each in (mean, cosine))
    assert at == pytest.approx(1)
    assert off <= at
    assert off == pytest.approx(math.exp(-((cosine - mean) ** 2) / (2 * WIDTH**2)), abs=1e-6)


def test_kernels_by_hand_and_what_is_masked_counts_nowhere():
    similarities = torch.tensor([[[0.5, -0.2, 9.0], [1.0, 0.4, -9.0]]])
    mask = torch.tensor([[True, True, False]])
    found = kernel_sums(similarities, mask, [0.5, -0.1], [0.1, 0.3])
    expected = [
        [
            sum(math.exp(-((cosine - mean) ** 2) / (2 * width**2)) for cosine in row)
            for mean, width in ((0.5, 0.1), (-0.1, 0.3))
        ]
        for row in ((0.5, -0.2), (1.0, 0.4))
    ]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)


def test_cosines_of_zeros_are_zero():
    states = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])
    np.testing.assert_allclose(cosines(states, states)[0], [[1, 0], [0, 0]], atol=1e-7)


def test_a_narrow_kernel_at_one_counts_exact_matches(network):
    """Tokens as their embeddings alone: a learnt mix of 1."""
    made = with_settings(network(), means=(1.0,), widths=(1e-3,))
    made.mix.data.fill_(1.0)
    made.scoring.weights.data.fill_(1.0)
    words = ["search", "engine", "model", "word"]
    numbers = np.random.default_rng(0)
    for _ in range(5):
        query, passage = (list(numbers.choice(words, size)) for size in (3, 20))
        counts = [passage.count(word) for word in query]
        expected = sum(math.log(max(count, 1e-10)) for count in counts)
        assert scores_of(made, [" ".join(query)], [" ".join(passage)]).item() == pytest.approx(expected, abs=1e-2)


# --------------------------------------------------------------------------------------------------------------- scores


@pytest.mark.parametrize("form", FORMS)
def test_scores_are_those_made_by_hand(form, network):
    """From the states, with numpy, in the words of the papers."""
    made = network(form)
    with torch.inference_mode():
        sides = [
            [tuple(each[0].numpy() for each in encode(prepare([text]).features(np.array([0])))) for text in texts]
            for encode, prepare, texts in (
                (made.encode_queries, made.prepare_queries, QUERIES),
                (made.encode_passages, made.prepare_passages, PASSAGES),
            )
        ]
    weights = {name: value.numpy().astype(np.float64) for name, value in made.scoring.state_dict().items()}
    expected = np.zeros((len(QUERIES), len(PASSAGES)))
    for row, (query, counted) in enumerate(sides[0]):
        for column, (passage, present) in enumerate(sides[1]):
            q, p = (
                states[mask] / np.linalg.norm(states[mask], axis=1, keepdims=True)
                for states, mask in ((query, counted), (passage, present))
            )
            kernels = np.exp(-(((q @ p.T)[..., None] - np.array(MEANS)) ** 2) / (2 * WIDTH**2)).sum(axis=1)
            if form == "improved":
                pooled = np.log(np.maximum(weights["scales"] * kernels, 1e-10)).sum(axis=0)
                expected[row, column] = pooled @ weights["weights"]
            else:
                phi = (weights["scale"] * np.log2(np.maximum(kernels, 1e-10))).sum(axis=0)
                psi = (weights["scale"] * kernels / (len(p) + 1)).sum(axis=0)
                parts = [phi @ weights["of_logarithms"], psi @ weights["of_counts"]]
                expected[row, column] = parts @ weights["combination"]
    np.testing.assert_allclose(scores_of(made), expected, rtol=1e-4, atol=1e-6)
    assert not expected[2].any()  # the empty query


def test_states_are_the_layers_of_the_text_alone(network):
    """Layer by layer in PyTorch's functional form, without masks or padding."""
    made = network()
    ids = torch.tensor([made.tokenizer("search engine model", add_special_tokens=False)["input_ids"]])
    with torch.no_grad():
        words = made.embeddings(ids)
        states = words + sinusoids(500, 3, 32)
        for layer in made.contextualiser.layers:
            attention = torch.nn.functional.multi_head_attention_forward(
                *[states.transpose(0, 1)] * 3,
                32,
                made.settings.heads,
                layer.self_attn.in_proj_weight,
                layer.self_attn.in_proj_bias,
                None,
                None,
                False,
                0.0,
                layer.self_attn.out_proj.weight,
                layer.self_attn.out_proj.bias,
            )[0].transpose(0, 1)
            states = layer.norm1(states + attention)
            states = layer.norm2(states + layer.linear2(torch.relu(layer.linear1(states))))
        expected = 0.5 * words + 0.5 * states
        features = made.prepare_passages(["search engine model", "a " * 30]).features(np.array([0, 1]))
        found, mask = made.encode_passages(features)
    assert mask[0].sum() == 3
    torch.testing.assert_close(found[:1, :3], expected, rtol=1e-4, atol=1e-5)


def test_positions_are_sines_then_cosines():
    codes = sinusoids(500, 3, 8).numpy()
    for row, place in enumerate((500, 501, 502)):
        angles = [place / 10_000 ** (wave / 3) for wave in range(4)]
        expected = [*map(math.sin, angles), *map(math.cos, angles)]
        np.testing.assert_allclose(codes[row], expected, atol=1e-4)
    assert sinusoids(0, 2, 5).shape == (2, 5)
    assert not sinusoids(0, 2, 5)[:, 4].any()


@pytest.mark.parametrize("form", FORMS)
def test_order_does_not_matter_without_positions(form, network):
    made = with_settings(network(form), positions=False)
    query, turned = "search engine of the model", "model the of engine search"
    np.testing.assert_allclose(scores_of(made, [query]), scores_of(made, [turned]), rtol=1e-4, atol=1e-6)
    placed = with_settings(made, positions=True)
    assert np.abs(scores_of(placed, [query]) - scores_of(placed, [turned])).max() > 1e-5


@pytest.mark.parametrize("form", FORMS)
def test_the_reranker_scores_as_the_network_in_every_way(form, network, tmp_path):
    made = network(form)
    expected = np.array([[scores_of(made, [query], [text]).item() for text in PASSAGES] for query in QUERIES])
    np.testing.assert_allclose(scores_of(made), expected, rtol=1e-5, atol=1e-6)
    made.save(tmp_path)
    np.testing.assert_array_equal(scores_of(TransformerKernel.load(tmp_path)), scores_of(made))
    reranker = load_reranker(tmp_path, device="cpu")
    np.testing.assert_allclose(reranker.score(QUERIES, lists()), expected, rtol=1e-5, atol=1e-6)
    states, halves = reranker.encode_passages(PASSAGES), reranker.encode_passages(PASSAGES, "float16")
    assert states.lengths.tolist() == [9, 6, 0, 3, 40]
    for query, of_query in zip(QUERIES, expected, strict=True):
        np.testing.assert_allclose(reranker.score_states(query, states), of_query, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(reranker.score_states(query, halves), of_query, rtol=2e-2, atol=2e-2)
    rounded = load_reranker(tmp_path, device="cpu", precision="bf16").score(QUERIES, lists())
    np.testing.assert_allclose(rounded, expected, rtol=0.1, atol=0.2)
    assert reranker.identity()["settings"]["form"] == form


@pytest.mark.parametrize("form", FORMS)
def test_a_few_steps_lower_the_loss_and_reach_every_parameter(form, network):
    losses, idle = train(network(form), steps=25, rate=1e-2)
    assert losses[-1] < 0.7 * losses[0]
    assert not idle


def test_words_come_from_the_backbone_or_at_random(network, backbone):
    from transformers import AutoModel

    table = AutoModel.from_pretrained(backbone()).get_input_embeddings().weight
    assert torch.equal(network().embeddings.weight, table)
    made = network(dimension=60)
    assert (made.width, made.settings.heads, made.settings.inner) == (60, 10, 300)
    assert network("original").settings.inner == 100
    assert network("original").settings.passage_offset == 0


def test_empty_texts_train_and_score(network):
    made = network()
    rows = all_rows(2, 2)
    scores = made(made.prepare(["", "search"], ["", "engine"], rows).features(np.arange(4)))
    scores.sum().backward()
    assert torch.isfinite(scores).all()
    assert all(torch.isfinite(each.grad).all() for each in made.parameters() if each.grad is not None)
    alone = made(made.prepare([""], [""], all_rows(1, 1)).features(np.arange(1)))
    assert alone.item() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 7}, "7 heads do not divide 300"),
        ({"layers": 0}, "below 1"),
        ({"means": (1.0,)}, "each kernel needs a mean and a positive width"),
        ({"means": (1.0,), "widths": (0.0,)}, "each kernel needs a mean and a positive width"),
        ({"passage_offset": -1}, "passage_offset cannot be negative"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(RerankerError, match=message):
        TKSettings(**settings)


def test_a_table_of_another_size_is_refused(network):
    made = network()
    with pytest.raises(RerankerError, match=r"the table of words is \(3, 32\)"):
        TransformerKernel(made.tokenizer, made.settings, torch.zeros(3, 32))
