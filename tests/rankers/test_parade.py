"""PARADE: each aggregator by hand, the order of passages, missing passages, the folder, training, and the reranker."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.tuning.scores import kind_of
from retrieval.errors import RecipeError, RerankerError
from retrieval.models.rankers.parade import Parade
from retrieval.models.rankers.passage_aggregation import aggregator
from retrieval.rerankers import PassageReranker, load_reranker
from retrieval.training.builders import parade as builder
from tests.rankers.conftest import PASSAGES, QUERIES
from tests.rankers.students import all_rows, lists, scores_of, train
from tests.rerankers.conftest import save_causal
from tests.rerankers.test_splitting import published_passages

pytestmark = pytest.mark.usefixtures("own_cache")

KINDS = ("avg", "sum", "max", "attn", "cnn", "transformer")
BLIND = ("avg", "sum", "max", "attn")
HIDDEN = 8
SMALL = {"words": 6, "overlap": 2, "passages": 4, "max_tokens": 24, "query_tokens": 10}


def made(kind, passages=4, positions=True, seed=0):
    torch.manual_seed(seed)
    found = aggregator(kind, HIDDEN, passages, heads=2, inner=16, layers=2, positions=positions).eval()
    for parameter in found.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # far from where all passages would count alike
    return found


def aggregate(network, states):
    """Return the state of one document."""
    with torch.inference_mode():
        return network(states[None], torch.ones(1, len(states), dtype=torch.bool))[0].numpy()


def documents(n, seed=1):
    return torch.randn(n, HIDDEN, generator=torch.Generator().manual_seed(seed))


def test_plain_aggregators_by_hand():
    states = documents(3)
    rows = states.numpy()
    np.testing.assert_allclose(aggregate(made("avg"), states), rows.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(aggregate(made("sum"), states), rows.sum(axis=0), rtol=1e-5)
    np.testing.assert_allclose(aggregate(made("max"), states), rows.max(axis=0), rtol=1e-6)
    attention = made("attn")
    weights = np.exp(rows @ attention.query.detach().numpy())
    np.testing.assert_allclose(aggregate(attention, states), weights / weights.sum() @ rows, rtol=1e-4, atol=1e-6)


def test_convolutions_by_hand():
    """Three passages and a zero: two convolutions of neighbours, and one of their results."""
    network, states = made("cnn"), documents(3).numpy()
    level = [*states, np.zeros(HIDDEN, np.float32)]
    for layer in network.layers:
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        level = [
            np.maximum(weight[:, :, 0] @ level[at] + weight[:, :, 1] @ level[at + 1] + bias, 0)
            for at in range(0, len(level), 2)
        ]
    (expected,) = level
    np.testing.assert_allclose(aggregate(network, torch.from_numpy(states)), expected, rtol=1e-4, atol=1e-5)


def test_the_transformer_is_that_of_bert():
    """The same numbers as transformers' own layers, which were written by others."""
    from transformers import BertConfig
    from transformers.models.bert.modeling_bert import BertLayer

    network, states = made("transformer"), documents(3)
    config = BertConfig(hidden_size=HIDDEN, num_attention_heads=2, intermediate_size=16, attn_implementation="eager")
    read = torch.cat([network.first[None], states]) + network.positions[:4]
    for layer in network.layers.layers:
        theirs = BertLayer(config).eval()
        weights, biases = layer.self_attn.in_proj_weight.chunk(3), layer.self_attn.in_proj_bias.chunk(3)
        own = theirs.attention.self
        linears = {
            own.query: (weights[0], biases[0]),
            own.key: (weights[1], biases[1]),
            own.value: (weights[2], biases[2]),
            theirs.attention.output.dense: (layer.self_attn.out_proj.weight, layer.self_attn.out_proj.bias),
            theirs.attention.output.LayerNorm: (layer.norm1.weight, layer.norm1.bias),
            theirs.intermediate.dense: (layer.linear1.weight, layer.linear1.bias),
            theirs.output.dense: (layer.linear2.weight, layer.linear2.bias),
            theirs.output.LayerNorm: (layer.norm2.weight, layer.norm2.bias),
        }
        with torch.no_grad():
            for module, (weight, bias) in linears.items():
                module.weight.copy_(weight)
                module.bias.copy_(bias)
            out = theirs(read[None])
            read = (out[0] if isinstance(out, tuple) else out)[0]
    np.testing.assert_allclose(aggregate(network, states), read[0].numpy(), rtol=1e-4, atol=1e-5)


@settings(max_examples=25)
@given(st.integers(2, 4), st.sampled_from(KINDS), st.integers(0, 99), st.data())
def test_who_sees_the_order_of_passages(n, kind, seed, data):
    network, states = made(kind), documents(n, seed)
    order = data.draw(st.permutations(range(n)))
    plain, moved = aggregate(network, states), aggregate(network, states[list(order)])
    if kind in BLIND or order == list(range(n)):
        np.testing.assert_allclose(plain, moved, rtol=1e-4, atol=1e-5)
    else:
        assert kind == "cnn" or np.abs(plain - moved).max() > 1e-4  # a convolution's states may all be cut off at 0


def test_order_in_the_transformer_comes_of_its_positions():
    states = documents(4)
    for positions in (True, False):
        network = made("transformer", positions=positions)
        difference = np.abs(aggregate(network, states) - aggregate(network, states.flip(0))).max()
        assert (difference > 1e-2) == positions
        assert difference < 1e-5 or positions
    convolution = made("cnn", seed=3)
    assert np.abs(aggregate(convolution, states) - aggregate(convolution, states.flip(0))).max() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_missing_passages_count_nothing(kind):
    """Whatever stands where there is no passage, and however wide the batch is."""
    network, states = made(kind), documents(2)
    batch = torch.full((2, 4, HIDDEN), 7.0)
    batch[0, :2], batch[1] = states, documents(4, 5)
    mask = torch.tensor([[True, True, False, False], [True] * 4])
    with torch.inference_mode():
        together = network(batch, mask)[0].numpy()
    np.testing.assert_allclose(together, aggregate(network, states), rtol=1e-4, atol=1e-5)


# ---------------------------------------------------------------------------------------------------------- the network


def test_states_are_those_of_the_encoder_for_query_and_passage(backbone, seeded):
    from transformers import AutoModel, AutoTokenizer

    network = builder.build_model(backbone=backbone(), aggregation="sum", **SMALL).eval()
    encoder, tokenizer = AutoModel.from_pretrained(backbone()).eval(), AutoTokenizer.from_pretrained(backbone())
    query, text = "search engine", "the document is a word and a query of the model is a text"
    passages = published_passages(text, 6, 2)
    assert len(passages) == 3
    inputs = [tokenizer(query, passage, return_tensors="pt") for passage in passages]
    with torch.inference_mode():
        first = sum(encoder(**each).last_hidden_state[0, 0] for each in inputs)
        expected = network.scoring(first).item()
    assert scores_of(network, [query], [text]).item() == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_one_folder_one_identity_and_the_same_scores_in_every_company(kind, backbone, seeded, tmp_path):
    network = builder.build_model(backbone=backbone(), aggregation=kind, **SMALL).eval()
    for parameter in [*network.aggregator.parameters(), *network.scoring.parameters()]:
        torch.nn.init.normal_(parameter, std=0.2)
    network.save(tmp_path)
    together = scores_of(network)
    assert np.ptp(together) > 1e-3
    alone = [[scores_of(network, [query], [passage]).item() for passage in PASSAGES] for query in QUERIES]
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(scores_of(Parade.load(tmp_path)), together)
    reranker = load_reranker(tmp_path, device="cpu")
    np.testing.assert_allclose(reranker.score(QUERIES, lists()), together, rtol=1e-4, atol=1e-4)
    identity = reranker.identity()
    assert identity["kind"] == "parade"
    assert identity["settings"] == {**SMALL, "aggregation": kind, "layers": 2, "positions": True}


@pytest.mark.parametrize("kind", ["attn", "cnn", "transformer"])
def test_a_few_steps_lower_the_loss_and_reach_every_parameter(kind, backbone, seeded):
    network = builder.build_model(backbone=backbone(), aggregation=kind, **SMALL)
    losses, idle = train(network, rate=1e-3)
    assert losses[-1] < 0.7 * losses[0]
    assert idle <= {"scoring.bias", "aggregator.layers.layers.1.norm2.bias"}  # constants, of which margins know nothing


def test_long_documents_are_read_to_their_end(backbone, seeded, tmp_path):
    """The last passage always counts; of what lies between, as many as are read."""
    network = builder.build_model(backbone=backbone(), aggregation="max", **SMALL).eval()
    head = "the document is a word " * 12
    scores = scores_of(network, ["a query"], [head, head + "search engine", head + "retrieval"])[0]
    assert len(set(scores.tolist())) == 3
    features = network.prepare(["a query"], [head], np.zeros((1, 2), np.int64)).features(np.zeros(1, np.int64))
    assert features["counts"].tolist() == [4]


def test_calls_are_inputs_of_the_encoder(backbone, seeded, tmp_path):
    builder.build_model(backbone=backbone(), **SMALL).save(tmp_path)
    reranker = load_reranker(tmp_path, device="cpu")
    assert reranker.calls(5) == 20
    assert kind_of(reranker) == "pointwise"
    assert [len(scores) for scores in reranker.score(["a"], lists(["a"], []))] == [0]
    with pytest.raises(RerankerError, match="makes up to 28 for 7 candidates"):
        PassageReranker(reranker)


def test_rows_that_are_cut_are_counted(backbone, seeded):
    network = builder.build_model(backbone=backbone(), **{**SMALL, "words": 40})
    prepared = network.prepare(["a"], ["a word", "word " * 39, "naïve " * 80], all_rows(1, 3))
    assert network.full_rows(prepared.features(np.arange(3))) == 2
    assert network.full_rows(prepared.features(np.zeros(1, np.int64))) == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"overlap": 6}, "passages of 6 words can share 0 to 5, not 6"),
        ({"max_tokens": 65}, "inputs have up to 65 tokens, but the backbone reads 64"),
        ({"aggregation": "median"}, "unknown aggregation 'median': one of avg, sum, max"),
        ({"aggregation": "cnn", "passages": 6}, "take 1, 2, 4, 8, … of a document, not 6"),
        ({"passages": 0}, "most must be a whole number, at least 1, not 0"),
        ({"layers": 0}, "needs at least 1 layer, not 0"),
        ({"max_tokens": 4}, "both need at least 1"),
    ],
)
def test_settings_that_make_no_sense(changed, message, backbone):
    with pytest.raises(RerankerError, match=message):
        builder.build_model(backbone=backbone(), **{**SMALL, **changed})


def test_a_first_token_that_reads_nothing_is_refused(tmp_path):
    with pytest.raises(RecipeError, match="causal"):
        builder.build_model(backbone=str(save_causal(tmp_path / "causal")), **SMALL)
