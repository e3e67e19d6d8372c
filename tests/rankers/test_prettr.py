"""PreTTR: against a cross-encoder at one end and no interaction at the other, stored states, compression."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from retrieval.errors import RecipeError, RerankerError
from retrieval.models.rankers.prettr import PreTTR, PreTTRSettings
from retrieval.models.rankers.split_layers import attention_probabilities, layers_of
from retrieval.rerankers import load_reranker
from retrieval.rerankers.network import NetworkReranker
from retrieval.training.builders import prettr as builder
from retrieval.training.losses.attention_matching import build_loss
from tests.rankers.conftest import PASSAGES, QUERIES
from tests.rankers.students import all_rows, lists, scores_of, train
from tests.rerankers.conftest import save_roberta

pytestmark = pytest.mark.usefixtures("own_cache")

SMALL = {"query_tokens": 10, "passage_tokens": 40, "masks": 2}
KINDS = ["bert", "distil"]


@pytest.fixture
def network(backbone, seeded):
    def make(kind="bert", join_layer=1, **settings):
        return builder.build_model(backbone=backbone(kind), join_layer=join_layer, **SMALL | settings).eval()

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_joined_from_the_first_layer_on_it_is_a_cross_encoder(kind, network):
    """A query of full length, so that positions go on without a gap, through the library's own forward pass."""
    query, passage = "a query of the model is to", "search engine retrieval"
    made = network(kind, join_layer=0, masks=0, query_tokens=9)
    ids = made.tokenizer(query, passage, return_tensors="pt", return_token_type_ids=kind == "bert")
    assert ids["input_ids"][0].tolist().index(made.tokenizer.sep_token_id) == 8
    with torch.inference_mode():
        expected = float(made.backbone(**ids).last_hidden_state[0, 0] @ made.scoring.weight[0])
    assert scores_of(made, [query], [passage]).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_stack_of_layers_with_a_mask_between_the_sides(kind, network):
    """Below the joint layer, in one sequence, each side sees itself alone; positions and segments by hand."""
    made = network(kind)
    layers = layers_of(made.backbone)
    tokenizer = made.tokenizer
    for query in QUERIES[:2]:
        for passage in PASSAGES[:3]:
            first = [*tokenizer(query)["input_ids"][:10], *[tokenizer.mask_token_id] * 2]
            second = tokenizer(passage)["input_ids"][1:]
            side = torch.tensor([0] * len(first) + [1] * len(second))
            positions = torch.tensor([[*range(len(first)), *range(12, 12 + len(second))]])
            segments = {"token_type_ids": side[None]} if kind == "bert" else {}
            with torch.inference_mode():
                ids = torch.tensor([[*first, *second]])
                states = made.backbone.embeddings(input_ids=ids, position_ids=positions, **segments)
                states = layers[0](states, (side[:, None] == side)[None, None])
                states = layers[1](states, torch.ones(1, 1, len(side), len(side), dtype=torch.bool))
                expected = float(states[0, 0] @ made.scoring.weight[0])
            assert scores_of(made, [query], [passage]).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_training_and_serving_score_alike(kind, implementation, network):
    """Serving computes the last layer for the first token alone."""
    made = network(kind)
    made.backbone.config._attn_implementation = implementation
    expected = scores_of(made)
    made.train()
    for module in made.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    np.testing.assert_allclose(scores_of(made), expected, rtol=1e-5, atol=1e-5)


def test_without_joint_layers_the_passage_has_no_say(network):
    made = network(join_layer=1)
    apart = PreTTR(made.backbone, made.tokenizer, PreTTRSettings(**SMALL, join_layer=2)).eval()
    found = scores_of(apart)
    np.testing.assert_allclose(found, np.repeat(found[:, :1], len(PASSAGES), axis=1), rtol=1e-6)
    assert np.ptp(found[:, 0]) > 0.01
    assert (np.ptp(scores_of(network(join_layer=1)), axis=1) > 0.01).all()


@pytest.mark.parametrize("settings", [{}, {"compression": 8}, {"join_layer": 0}])
def test_stored_states_score_as_the_whole_and_company_changes_nothing(settings, network, tmp_path):
    made = network(**settings)
    expected = np.array([[scores_of(made, [query], [text]).item() for text in PASSAGES] for query in QUERIES])
    np.testing.assert_allclose(scores_of(made), expected, rtol=1e-5, atol=1e-5)
    made.save(tmp_path)
    np.testing.assert_array_equal(scores_of(PreTTR.load(tmp_path)), scores_of(made))
    reranker = load_reranker(tmp_path, device="cpu")
    np.testing.assert_allclose(reranker.score(QUERIES, lists()), expected, rtol=1e-5, atol=1e-5)
    states, halves = reranker.encode_passages(PASSAGES), reranker.encode_passages(PASSAGES, "float16")
    assert states.values.shape[1] == settings.get("compression", 32)
    for query, of_query in zip(QUERIES, expected, strict=True):
        np.testing.assert_allclose(reranker.score_states(query, states), of_query, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(reranker.score_states(query, halves), of_query, rtol=1e-2, atol=1e-2)
    small = load_reranker(tmp_path, device="cpu", batch_tokens=1)
    np.testing.assert_allclose(small.score(QUERIES, lists()), expected, rtol=1e-5, atol=1e-5)
    rounded = load_reranker(tmp_path, device="cpu", precision="bf16")
    np.testing.assert_allclose(rounded.score(QUERIES, lists()), expected, rtol=0.1, atol=0.15)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compression", [0, 8])
def test_a_few_steps_lower_the_loss_and_reach_every_parameter(kind, compression, network):
    made = network(kind, compression=compression)
    losses, idle = train(made, rate=1e-3)
    assert losses[-1] < 0.7 * losses[0]
    # The last bias adds the same number to all scores, which margins do not see.
    last = layers_of(made.backbone)[1]
    norm = last.output.LayerNorm if kind == "bert" else last.output_layer_norm
    assert all(parameter is norm.bias for name, parameter in made.named_parameters() if name in idle)


@pytest.mark.parametrize("kind", KINDS)
def test_attention_is_the_librarys(kind, network, backbone):
    from transformers import AutoModel

    made = network(kind)
    eager = AutoModel.from_pretrained(backbone(kind), attn_implementation="eager").eval()
    features = made.prepare_passages(PASSAGES).features(np.arange(5))
    ids, mask = features["input_ids"], features["attention_mask"]
    with torch.inference_mode():
        output = eager(input_ids=ids, attention_mask=mask, output_attentions=True, output_hidden_states=True)
        found = attention_probabilities(layers_of(made.backbone)[1], output.hidden_states[1], mask.bool())
    read = mask.bool()[:, None, :, None].expand_as(found)
    torch.testing.assert_close(found[read], output.attentions[1][read], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_compression_learns_to_keep_the_attention_and_nothing_else_learns(implementation, network):
    made = network(compression=16)
    made.backbone.config._attn_implementation = implementation
    prepared = made.prepare(QUERIES, PASSAGES, all_rows())
    features = prepared.features(np.arange(len(prepared.lengths)))
    before = {name: value.clone() for name, value in made.state_dict().items()}
    optimizer = torch.optim.AdamW(made.parameters(), 1e-2, weight_decay=0.1)
    matching = build_loss(made)
    losses = []
    for _ in range(40):
        loss = matching([{**features, "n_tuples": 4}])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
    changed = {name for name, value in made.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("compression.")}
    assert all(parameter.requires_grad for parameter in made.parameters())


def test_matching_is_for_networks_that_compress(network):
    with pytest.raises(RecipeError, match="trains the compression of a model 'prettr'"):
        build_loss(network())


def test_a_compression_that_changes_nothing_has_no_difference(network):
    made = network(compression=8)

    class Nothing(torch.nn.Module):
        def forward(self, states):
            return states

    made.compression = Nothing()
    prepared = made.prepare(QUERIES, PASSAGES, all_rows())
    assert made.attention_difference(prepared.features(np.arange(20))).item() == pytest.approx(0, abs=1e-12)


def test_full_rows_and_cut_tokens_are_counted(network):
    made = network()
    prepared = made.prepare(["a", "a " * 20], ["a", "a " * 45], all_rows(2, 2))
    assert made.full_rows(prepared.features(np.arange(4))) == 3
    assert made.full_rows(prepared.features(np.array([0]))) == 0
    assert made.passage_tokens_cut(["a", "a " * 45]).tolist() == [0, 6]  # 39 and the separator are read


def test_what_it_cannot_be(backbone, network, tmp_path):
    made = network()
    with pytest.raises(RerankerError, match="join_layer is 3, but the backbone has 2 layers"):
        PreTTR(made.backbone, made.tokenizer, PreTTRSettings(**SMALL, join_layer=3))
    with pytest.raises(RecipeError, match="join_layer is 2 of 2 layers, so that no layer reads query and passage"):
        network(join_layer=2)
    with pytest.raises(RerankerError, match="a query and its passage have up to 65 tokens, but the backbone reads 64"):
        network(passage_tokens=53)
    with pytest.raises(RerankerError, match="cannot be negative"):
        PreTTRSettings(join_layer=-1)
    with pytest.raises(RerankerError, match="nothing to match: compression is 0"):
        network().attention_difference({})
    with pytest.raises(RerankerError, match="layers of RobertaModel cannot be run apart"):
        builder.build_model(backbone=str(_encoder(tmp_path)), **SMALL)


def _encoder(folder):
    from transformers import AutoTokenizer, RobertaModel

    classifier = save_roberta(folder / "classifier")
    RobertaModel.from_pretrained(classifier).save_pretrained(folder / "encoder")
    AutoTokenizer.from_pretrained(classifier).save_pretrained(folder / "encoder")
    return folder / "encoder"


def test_positions_of_passages_can_begin_elsewhere(network):
    made = network()
    moved = PreTTR(made.backbone, made.tokenizer, PreTTRSettings(join_layer=1, passage_start=20, **SMALL)).eval()
    moved.load_state_dict(made.state_dict())
    assert NetworkReranker(moved, "moved").identity() != NetworkReranker(made, "made").identity()
    assert np.abs(scores_of(moved) - scores_of(made)).max() > 1e-3
