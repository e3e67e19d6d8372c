"""ColBERT in both forms: what it reads, its score, and what it does not depend on."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from retrieval.errors import RerankerError
from retrieval.models.rankers.colbert import ColBERT
from retrieval.rerankers import Candidates, load_reranker
from retrieval.rerankers.network import NetworkReranker
from retrieval.training.builders import colbert as builder
from tests.rankers.conftest import PASSAGES, QUERIES
from tests.rankers.students import lists, scores_of, train

pytestmark = pytest.mark.usefixtures("own_cache")

SMALL = {"query_tokens": 12, "passage_tokens": 40, "dimension": 24}
FORMS = ["study", "original"]


@pytest.fixture
def network(backbone, seeded):
    def make(form="study", kind="bert", **settings):
        return builder.build_model(backbone=backbone(kind), form=form, **SMALL | settings).eval()

    return make


def by_hand(network, query, passage):
    """The score from the encoder's states of ids made here, token by token."""
    tokenizer, settings = network.tokenizer, network.settings
    original = settings.normalised
    token = tokenizer.convert_tokens_to_ids

    def ids(text, marker, limit):
        found = tokenizer(text, add_special_tokens=False)["input_ids"]
        before = [tokenizer.cls_token_id, *([token(marker)] if original else [])]
        return [*before, *found[: limit - len(before) - 1], tokenizer.sep_token_id]

    query_ids = ids(query, "[unused0]", settings.query_tokens)
    n_masks = settings.query_tokens - len(query_ids) if original else settings.masks
    read = [1] * len(query_ids) + [0 if original else 1] * n_masks
    query_ids += [tokenizer.mask_token_id] * n_masks
    passage_ids = ids(passage, "[unused1]", settings.passage_tokens)
    kept = [not original or tokenizer.convert_ids_to_tokens(each) not in list(",.") for each in passage_ids]

    def states(these, mask):
        with torch.inference_mode():
            hidden = network.backbone(input_ids=torch.tensor([these]), attention_mask=torch.tensor([mask]))
            found = hidden.last_hidden_state[0].numpy() @ network.projection.weight.detach().numpy().T
        if original:
            return found / np.linalg.norm(found, axis=1, keepdims=True)
        return found + network.projection.bias.detach().numpy()

    q, p = states(query_ids, read), states(passage_ids, [1] * len(passage_ids))[kept]
    return (q @ p.T).max(axis=1).sum()


@pytest.mark.parametrize("kind", ["bert", "distil"])
@pytest.mark.parametrize("form", FORMS)
def test_scores_are_those_made_by_hand(form, kind, network):
    made = network(form, kind)
    assert (made.projection.bias is None) == (form == "original")
    expected = [[by_hand(made, query, passage) for passage in PASSAGES] for query in QUERIES]
    np.testing.assert_allclose(scores_of(made), expected, rtol=2e-5, atol=2e-5)


def test_the_forms_have_the_settings_of_their_papers(backbone, seeded):
    study = builder.build_model(backbone=backbone(), passage_tokens=64).settings
    assert (study.dimension, study.bias, study.normalised, study.masks, study.query_tokens) == (768, True, False, 8, 30)
    original = builder.build_model(backbone=backbone(), form="original", passage_tokens=64).settings
    assert (original.dimension, original.bias, original.normalised, original.masks) == (128, False, True, 0)
    assert (original.filled_to, original.masks_are_read, original.punctuation) == (32, False, False)


def test_what_each_side_reads(network):
    made = network("original")
    token = made.tokenizer.convert_tokens_to_ids
    query = made.prepare_queries(["search, engine"]).features(np.array([0]))
    expected = ["[CLS]", "[unused0]", "search", ",", "engine", "[SEP]", *["[MASK]"] * 6]
    assert query["input_ids"][0].tolist() == token(expected)
    assert query["attention_mask"][0].tolist() == [1] * 6 + [0] * 6
    assert query["counted"].all()
    passages = made.prepare_passages(["a, b.", "a"])
    features = passages.features(np.array([0, 1]))
    assert features["input_ids"].tolist() == [
        token(["[CLS]", "[unused1]", "a", ",", "b", ".", "[SEP]"]),
        token(["[CLS]", "[unused1]", "a", "[SEP]", "[PAD]", "[PAD]", "[PAD]"]),
    ]
    assert features["counted"].tolist() == [[True, True, True, False, True, False, True], [True] * 4 + [False] * 3]
    states, mask = made.encode_passages(features)
    assert (tuple(states.shape), mask.sum(dim=1).tolist()) == ((2, 5, 24), [5, 4])
    assert made.passage_tokens_cut(["a " * 50, "a"]).tolist() == [13, 0]


@pytest.mark.parametrize("form", FORMS)
def test_company_and_padding_change_nothing(form, network):
    made = network(form)
    together = scores_of(made)
    for row, query in enumerate(QUERIES):
        for column, passage in enumerate(PASSAGES):
            alone = scores_of(made, [query], [passage])
            np.testing.assert_allclose(alone, together[row : row + 1, column : column + 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_the_reranker_scores_as_the_network_in_every_way(form, network, tmp_path):
    made = network(form)
    expected = scores_of(made)
    made.save(tmp_path)
    for settings in ({}, {"batch_tokens": 1}):
        reranker = load_reranker(tmp_path, device="cpu", **settings)
        assert isinstance(reranker, NetworkReranker)
        np.testing.assert_allclose(reranker.score(QUERIES, lists()), expected, rtol=1e-5, atol=1e-5)
    states = reranker.encode_passages(PASSAGES)
    halves = reranker.encode_passages(PASSAGES, "float16")
    assert (states.values.dtype, halves.values.dtype) == (np.float32, np.float16)
    for query, of_query in zip(QUERIES, expected, strict=True):
        np.testing.assert_allclose(reranker.score_states(query, states), of_query, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(reranker.score_states(query, halves), of_query, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("form", FORMS)
def test_a_few_steps_lower_the_loss_and_reach_every_parameter(form, network):
    made = network(form)
    losses, idle = train(made)
    assert losses[-1] < 0.7 * losses[0]
    assert not idle


def test_a_saved_network_is_the_same_one(network, tmp_path):
    made = network("original")
    made.save(tmp_path / "first")
    loaded = ColBERT.load(tmp_path / "first")
    assert loaded.settings == made.settings
    np.testing.assert_array_equal(scores_of(loaded), scores_of(made))
    loaded.save(tmp_path / "second")
    identities = [load_reranker(tmp_path / name).identity() for name in ("first", "second")]
    assert identities[0] == identities[1]
    assert identities[0]["kind"] == "colbert"
    assert identities[0]["settings"]["dimension"] == 24
    other = network("original", masks=1)
    other.save(tmp_path / "other")
    assert load_reranker(tmp_path / "other").identity() != identities[0]


@pytest.mark.parametrize(("precision", "tolerance"), [("bf16", 0.2), ("fp16", 0.03)])
def test_other_precisions_run_and_are_close(precision, tolerance, network, tmp_path):
    made = network("original")
    made.save(tmp_path)
    reranker = load_reranker(tmp_path, precision=precision, device="cpu")
    assert reranker.execution()["precision"] == precision
    np.testing.assert_allclose(reranker.score(QUERIES, lists()), scores_of(made), atol=tolerance)
    copied = NetworkReranker(made, "copied", precision=precision)
    np.testing.assert_allclose(copied.score(QUERIES, lists()), reranker.score(QUERIES, lists()), atol=1e-6)
    assert next(made.parameters()).dtype == torch.float32
    assert copied.identity() == reranker.identity()


def test_equal_texts_tie_exactly_and_empty_lists_are_allowed(network):
    reranker = NetworkReranker(network(), "colbert")
    twice = Candidates(["a", "b", "c"], [PASSAGES[0], PASSAGES[1], PASSAGES[0]], np.zeros(3))
    nothing = Candidates([], [], np.zeros(0))
    found = reranker.score(["search", "model", "search"], [twice, nothing, twice])
    assert found[0][0] == found[0][2]
    assert found[0].tolist() == found[2].tolist()
    assert len(found[1]) == 0
    assert len(reranker.encode_passages([])) == 0
    assert reranker.score_states("search", reranker.encode_passages([])).shape == (0,)
    assert reranker.calls(7) == 7
    reranker.close()
    with pytest.raises(RerankerError, match="closed"):
        reranker.score(["search"], [twice])


# ------------------------------------------------------------------------------------------------------ what is refused


def test_wrong_folders_are_refused_by_name(network, backbone, tmp_path):
    network().save(tmp_path / "colbert")
    from retrieval.models.rankers.dot import DotNetwork

    with pytest.raises(RerankerError, match="holds no network of kind 'dot': it is of kind 'colbert'"):
        DotNetwork.load(tmp_path / "colbert")
    with pytest.raises(RerankerError, match=r"no network of kind 'colbert': it has no reranker\.json"):
        ColBERT.load(backbone())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("projection.weight"), r"missing: projection\.weight"),
        (lambda tensors: tensors.update(other=tensors["projection.bias"] * 1), "unexpected: other"),
        (
            lambda tensors: tensors.update({"projection.bias": np.zeros(3, np.float32)}),
            r"of another shape: projection\.bias \(3,\), not \(24,\)",
        ),
    ],
)
def test_parameters_that_do_not_fit_are_listed(change, message, network, tmp_path):
    from safetensors.numpy import load_file, save_file

    network().save(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(RerankerError, match=message):
        load_reranker(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2, this version reads 1"),
        ({"kind": "colbert-x"}, "unknown kind of ranking network 'colbert-x'"),
        ({"settings": {"dimension": "24"}}, "is damaged"),
        ({"settings": {"dimensions": 24}}, "is damaged"),
        ({"settings": {"dimension": 24, "passage_tokens": 65}}, "up to 65 tokens, but the backbone reads 64"),
        ({"settings": {"dimension": 24, "passage_tokens": 2}}, "leave no room for text"),
        ({"settings": {"dimension": 24, "passage_tokens": 40, "query_marker": "[Q]"}}, "no token '\\[Q\\]'"),
    ],
)
def test_settings_that_are_damaged_or_do_not_fit(change, message, network, tmp_path):
    network().save(tmp_path / "made")
    folder = shutil.copytree(tmp_path / "made", tmp_path / "copy")
    stored = json.loads((folder / "reranker.json").read_text())
    (folder / "reranker.json").write_text(json.dumps(stored | change))
    with pytest.raises(RerankerError, match=message):
        load_reranker(folder)


def test_settings_of_others_are_refused(network, tmp_path):
    network().save(tmp_path)
    with pytest.raises(RerankerError, match="'query_tokens' is no setting of a reranker of kind 'colbert'"):
        load_reranker(tmp_path, query_tokens=3)


def test_states_of_another_width_or_too_large_are_refused(network):
    reranker = NetworkReranker(network(), "mine")
    states = reranker.encode_passages(["a"])
    other = NetworkReranker(network(dimension=8), "other")
    with pytest.raises(RerankerError, match="states have 24 numbers; this network's have 8"):
        other.score_states("a", states)
    reranker.network.projection.bias.data[:] = 1e6
    with pytest.raises(RerankerError, match="float16 cannot hold"):
        reranker.encode_passages(["a"], "float16")
