"""DeeBERT's second stage: off-ramps learn, and what they stand on stays as it is, to the bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from retrieval.errors import RecipeError, RerankerError
from retrieval.models.rankers.early_exit import EarlyExitNetwork
from retrieval.models.rankers.mono import MonoNetwork
from retrieval.rerankers import Candidates, load_reranker
from retrieval.training import builtin_recipe, train
from retrieval.training.builders.early_exit import build_model
from retrieval.training.losses.off_ramps import build_loss, off_ramp_cross_entropy
from retrieval.training.ranking_collation import RankingCollator
from tests.retrieval.conftest import own_cache
from tests.training.planted import save_bert, write_training_data

__all__ = ["own_cache"]

pytestmark = [pytest.mark.usefixtures("own_cache"), pytest.mark.filterwarnings("ignore::UserWarning")]

LAYERS = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with tuples and a pointwise reranker of three layers, whose random head says something of each input."""
    root = tmp_path_factory.mktemp("off-ramps")
    bert = save_bert(root / "bert")
    write_training_data(root / "train.jsonl", n=160)
    torch.manual_seed(0)
    config = BertConfig.from_pretrained(bert)
    config.num_labels, config.num_hidden_layers, config.initializer_range = 1, LAYERS, 0.3
    model = BertForSequenceClassification(config)
    MonoNetwork(model, AutoTokenizer.from_pretrained(bert), query_tokens=8, max_tokens=24).save(root / "mono")
    return root


def recipe(place, **changes):
    settings = {
        "model_settings": {"backbone": str(place / "mono")},
        "learning_rate": 3e-3,
        "epochs": 3,
        "dropout": 0.0,
        "schedule": "constant_with_warmup",
    }
    return builtin_recipe("early-exit").changed({**settings, **changes})


def batch(place, network, n=40):
    rows = [json.loads(line) for line in (place / "train.jsonl").read_text().splitlines()[:n]]
    examples = [{"query": row["query"], "positive": row["positive"], "negative_1": row["negative"]} for row in rows]
    return RankingCollator(network)(examples)


def new_network(place):
    return build_model(backbone=str(place / "mono"))


def test_the_loss_is_the_sum_of_cross_entropies():
    ramps = np.array([[0.5, -2.0, 1.0], [3.0, 0.0, -1.0]])
    targets = np.array([1.0, 0.0, 0.3])
    p = 1 / (1 + np.exp(-ramps))
    expected = (-(targets * np.log(p) + (1 - targets) * np.log(1 - p))).mean(axis=1).sum()
    assert off_ramp_cross_entropy(torch.tensor(ramps), torch.tensor(targets)).item() == pytest.approx(expected)


@pytest.mark.parametrize("targets", ["model", "labels"])
def test_targets_are_the_model_s_or_the_judgements(targets, place):
    network = new_network(place).eval()
    found = build_loss(network, targets=targets)([batch(place, network)]).item()
    features = batch(place, network)
    features.pop("n_tuples")
    with torch.no_grad():
        whole = network(features).double().numpy()
        ramps = network.ramp_scores(features)[0].double().numpy()
    wanted = 1 / (1 + np.exp(-whole)) if targets == "model" else np.tile([1.0, 0.0], len(whole) // 2)
    p = 1 / (1 + np.exp(-ramps))
    expected = (-(wanted * np.log(p) + (1 - wanted) * np.log(1 - p))).mean(axis=1).sum()
    assert found == pytest.approx(expected, rel=1e-4)


def test_only_off_ramps_have_gradients_and_only_they_drop_out(place):
    network = new_network(place).train()
    build_loss(network)([batch(place, network, 4)]).backward()
    learns = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert learns == {name for name, _ in network.named_parameters() if name.startswith("ramps.")}
    assert {name.partition(".")[0] for name, module in network.named_modules() if name and module.training} == {"ramps"}


def test_the_network_s_score_is_the_reranker_s(place):
    network = new_network(place).eval()
    plain = MonoNetwork.load(place / "mono").eval()
    features = batch(place, network)
    features.pop("n_tuples")
    with torch.no_grad():
        assert torch.equal(network(features), plain(features))
        torch.testing.assert_close(network.ramp_scores(features)[1], plain(features), atol=1e-5, rtol=1e-5)


def test_off_ramps_learn_what_the_model_says(place, tmp_path):
    before = new_network(place).eval()
    report = train(recipe(place), place / "train.jsonl", tmp_path / "out")
    after = EarlyExitNetwork.load(tmp_path / "out").eval()
    losses = [build_loss(network)([batch(place, network)]).item() for network in (before, after)]
    with torch.no_grad():
        features = batch(place, after)
        features.pop("n_tuples")
        p = torch.sigmoid(after(features)).double().clamp(1e-9, 1 - 1e-9)
        least = (LAYERS - 1) * float(-(p * p.log() + (1 - p) * (1 - p).log()).mean())  # the targets' own entropy
    assert losses[1] - least < 0.5 * (losses[0] - least)
    assert report.kind == "mono"

    plain, out = load_reranker(place / "mono", device="cpu"), load_reranker(tmp_path / "out", device="cpu")
    assert out.identity() == plain.identity()  # to the bit, and budgets as well
    early = load_reranker(tmp_path / "out", device="cpu", exit_entropy=0.3)
    assert early.identity()["max_tokens"] == 24
    rows = [json.loads(line) for line in (place / "train.jsonl").read_text().splitlines()[:40]]
    lists = [row["query"] for row in rows], [Candidates(["a"], [row["positive"]], np.zeros(1)) for row in rows]
    assert 1 <= early.score_with_layers(*lists).mean_layers < LAYERS


def test_wrong_recipes(place, tmp_path):
    with pytest.raises(RecipeError, match="set backbone in model_settings"):
        train(builtin_recipe("early-exit"), place / "train.jsonl", tmp_path / "a")
    with pytest.raises(RecipeError, match="loss 'off-ramps' is for the model early-exit"):
        changes = {"model": "mono", "model_settings": {"backbone": str(place / "mono")}}
        train(builtin_recipe("early-exit").changed(changes), place / "train.jsonl", tmp_path / "b")
    with pytest.raises(RerankerError, match="is it an encoder without a trained head"):
        train(recipe(place, model_settings={"backbone": str(place / "bert")}), place / "train.jsonl", tmp_path / "c")
    with pytest.raises(RerankerError, match="no off-ramps"):
        EarlyExitNetwork.load(place / "mono")
