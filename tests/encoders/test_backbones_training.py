"""Every family as a backbone of training: two recipes, dropout and drophead, saved and loaded again."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.encoders import load_encoder
from retrieval.errors import RecipeError, TrainingError
from retrieval.models.neobert import NeoBertConfig, NeoBertModel
from retrieval.training import builtin_recipe, train
from retrieval.training.augmentation import drophead, set_dropout
from retrieval.training.builders.encoder import build_model
from tests.encoders.backbones import FAMILIES, WIDTH, save_family
from tests.retrieval.conftest import save_backbone

pytestmark = pytest.mark.usefixtures("own_cache")

TEXTS = ["the search engine", "a query is short and a passage is long", "the dog sleeps in the house"]
NAMES = [*FAMILIES, "neobert"]


def save(name: str, folder: Path) -> Path:
    """Write a family's checkpoint; NeoBERT is this package's own."""
    if name != "neobert":
        return save_family(name, folder)
    save_backbone(folder, seed=0)
    settings = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": WIDTH, "intermediate_size": 64}
    torch.manual_seed(0)
    NeoBertModel(NeoBertConfig(vocab_size=200, decoder_init_range=0.3, **settings)).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Return a function that writes a family's checkpoint once and returns its folder."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = save(name, tmp_path_factory.mktemp("backbone") / name)
        return made[name]

    return folder


@pytest.fixture
def sentences(tmp_path) -> Path:
    path = tmp_path / "sentences.txt"
    path.write_text("".join(f"the search engine number {number} reads a document\n" for number in range(16)))
    return path


@pytest.fixture
def pairs(tmp_path) -> Path:
    rows = [{"query": f"query {number}", "positive": f"the document {number} of the house"} for number in range(16)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def train_on(folder: Path, recipe: str, data: Path, out: Path, **changes: object) -> None:
    settings = {"model_settings": {"backbone": str(folder), "pooling": "mean"}, "batch_size": 8, "max_steps": 2}
    train(builtin_recipe(recipe).changed({**settings, "max_tokens": 24, "learning_rate": 1e-2, **changes}), data, out)


def check_trained(folder: Path, out: Path) -> None:
    """A trained folder loads, has moved, and gives the vectors of the trained network whatever stands beside a text."""
    encoder = load_encoder(out)
    assert (encoder.dimension, encoder.max_tokens) == (WIDTH, 24)
    vectors = encoder.encode_passages(TEXTS)
    assert np.abs(vectors - load_encoder(folder, pooling="mean").encode_passages(TEXTS)).max() > 1e-3
    np.testing.assert_allclose(np.concatenate([encoder.encode_passages([text]) for text in TEXTS]), vectors, atol=2e-5)
    network = build_model(backbone=str(out)).eval()
    np.testing.assert_allclose(network.encode(TEXTS), vectors, atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
class TestRecipes:
    def test_pairs(self, name, folder_of, pairs, tmp_path):
        train_on(folder_of(name), "pairs", pairs, tmp_path / "out")
        check_trained(folder_of(name), tmp_path / "out")

    def test_mirror_bert_with_drophead(self, name, folder_of, sentences, tmp_path):
        train_on(folder_of(name), "mirror-bert", sentences, tmp_path / "out", dropout=0.0, drophead=0.25)
        check_trained(folder_of(name), tmp_path / "out")

    def test_simcse_with_dropout(self, name, folder_of, sentences, tmp_path):
        train_on(folder_of(name), "simcse", sentences, tmp_path / "out", dropout=0.2)
        check_trained(folder_of(name), tmp_path / "out")


def test_pairs_on_a_causal_backbone_without_a_padding_token(folder_of, pairs, tmp_path):
    train_on(folder_of("gpt2"), "pairs", pairs, tmp_path / "out")
    check_trained(folder_of("gpt2"), tmp_path / "out")


@pytest.mark.parametrize("name", NAMES)
def test_the_first_token_of_a_causal_backbone_is_refused(name, folder_of):
    """`mirror-bert` and `simcse` pool by it unless told otherwise; there it says nothing of the text."""
    causal = name in FAMILIES and FAMILIES[name].causal
    with pytest.raises(RecipeError, match="use 'mean' or 'lasttoken'") if causal else contextlib.nullcontext():
        build_model(backbone=str(folder_of(name)), pooling="cls")
    build_model(backbone=str(folder_of(name)), pooling="lasttoken")


@pytest.mark.parametrize("name", NAMES)
class TestNoise:
    def network(self, name: str, folder_of) -> torch.nn.Module:
        return build_model(backbone=str(folder_of(name)), pooling="mean")

    def encoded(self, model: torch.nn.Module) -> torch.Tensor:
        """Return the vectors of one text twice."""
        with torch.no_grad():
            return model(model.preprocess(["the search engine reads a document"] * 2))["sentence_embedding"]

    def test_dropout_is_what_makes_two_views_differ(self, name, folder_of):
        model = self.network(name, folder_of).train()
        set_dropout(model, 0.0)
        still = self.encoded(model)
        assert torch.allclose(still[0], still[1], atol=1e-6)
        assert set_dropout(model, 0.3) > 0
        moving = self.encoded(model)
        assert (moving[0] - moving[1]).abs().max() > 1e-3

    def test_drophead_leaves_out_heads_in_every_layer(self, name, folder_of):
        model = self.network(name, folder_of).train()
        set_dropout(model, 0.0)
        still = self.encoded(model)
        config = model[0].model.config
        layers = 1 if name == "albert" else config.num_hidden_layers  # ALBERT's layers are one module
        with drophead(model, 0.5) as found:
            assert found == layers
            moving = self.encoded(model)
        assert (moving[0] - moving[1]).abs().max() > 1e-3
        assert torch.allclose(self.encoded(model), still, atol=1e-6)


def test_drophead_names_the_family_that_it_cannot_handle():
    from transformers import FNetConfig, FNetModel

    small = {"vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16}
    network = FNetModel(FNetConfig(**small))
    with pytest.raises(TrainingError, match="no attention heads found in the family 'fnet'"), drophead(network, 0.1):
        pass
