"""Backbones of every family, pooling by name, and checkpoints that do not match."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from retrieval.encoders import load_encoder
from retrieval.errors import EncoderError, RecipeError, TrainingError
from retrieval.models.pooling.building import USUAL
from retrieval.training import builtin_recipe, train
from retrieval.training.builders.encoder import build_model
from tests.models.alibi_oracle import SMALL as ALIBI
from tests.models.alibi_oracle import parameter_shapes, random_parameters
from tests.models.published_checkpoint import add_sentence_transformer, write_checkpoint
from tests.training.conftest import vocabulary

SMALL = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "intermediate_size": 64}
FAMILIES = {
    "Bert": SMALL,
    "Roberta": {**SMALL, "max_position_embeddings": 70, "pad_token_id": 0},
    "Albert": {**SMALL, "embedding_size": 16},
    "DistilBert": {"n_layers": 2, "n_heads": 4, "dim": 32, "hidden_dim": 64},
    "Electra": {**SMALL, "embedding_size": 16},
    "MPNet": {**SMALL, "max_position_embeddings": 70, "pad_token_id": 0},
    "ModernBert": {**SMALL, "pad_token_id": 0, "cls_token_id": 2, "sep_token_id": 3},
    "DebertaV2": SMALL,
    "Qwen2": {**SMALL, "num_key_value_heads": 4, "pad_token_id": 0},
}


def saved(name: str, folder, **changes):
    """Save a random model of a family with the tests' vocabulary."""
    import transformers

    settings = {**FAMILIES[name], "vocab_size": len(vocabulary()), **changes}
    torch.manual_seed(0)
    model = getattr(transformers, f"{name}Model")(getattr(transformers, f"{name}Config")(**settings))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary()), encoding="utf-8")
    tokenizer = transformers.BertTokenizerFast(vocab=str(folder / "vocab.txt"), model_max_length=64)
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend_tokenizer,
        model_max_length=64,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_trains_and_loads_again(name, tmp_path, sentences):
    folder = saved(name, tmp_path / "backbone")
    changes = {"model_settings": {"backbone": str(folder), "pooling": "mean"}, "batch_size": 8, "max_tokens": 32}
    train(builtin_recipe("mirror-bert").changed({**changes, "limit": 16}), sentences, tmp_path / "out")
    encoder = load_encoder(tmp_path / "out")
    texts = ["a man plays the guitar", "the dog"]
    together = encoder.encode_passages(texts)
    assert together.shape == (2, 32)
    np.testing.assert_allclose(together[1:], encoder.encode_passages(texts[1:]), atol=1e-4)


def token_vectors(model, text: str) -> torch.Tensor:
    """Return the vectors of a text's tokens, special ones included, (tokens, d)."""
    with torch.no_grad():
        return model[0](model.preprocess([text]))["token_embeddings"][0]


@pytest.mark.parametrize("pooling", USUAL)
def test_pooling_by_name(tiny_bert, pooling):
    model = build_model(backbone=str(tiny_bert), pooling=pooling).eval()
    tokens = token_vectors(model, "the dog eats")
    n = len(tokens)
    places = torch.arange(1, n + 1)[:, None]
    expected = {
        "cls": tokens[0],
        "mean": tokens.mean(dim=0),
        "max": tokens.max(dim=0).values,
        "lasttoken": tokens[-1],
        "mean_sqrt_len_tokens": tokens.sum(dim=0) / n**0.5,
        "weightedmean": (tokens * places).sum(dim=0) / places.sum(),
    }[pooling]
    found = model.encode(["the dog eats", "a longer text beside it over the river"], convert_to_tensor=True)[0]
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_sentence_transformers_folder_keeps_its_modules_unless_told_otherwise(tiny_bert, tmp_path):
    build_model(backbone=str(tiny_bert), pooling="max", normalise=True).save_pretrained(str(tmp_path / "saved"))
    kept = build_model(backbone=str(tmp_path / "saved")).eval()
    vector = kept.encode(["the dog"])[0]
    assert np.linalg.norm(vector) == pytest.approx(1)
    changed = build_model(backbone=str(tmp_path / "saved"), pooling="cls").eval()
    tokens = token_vectors(changed, "the dog")
    np.testing.assert_allclose(changed.encode(["the dog"])[0], tokens[0].numpy(), atol=1e-5)


def test_random_weights_forget_and_depend_on_the_seed(tiny_bert):
    def word_vectors(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        model = build_model(backbone=str(tiny_bert), random_weights=True)
        return model[0].model.get_input_embeddings().weight.detach()

    learned = build_model(backbone=str(tiny_bert))[0].model.get_input_embeddings().weight
    assert torch.equal(word_vectors(1), word_vectors(1))
    assert not torch.equal(word_vectors(1), word_vectors(2))
    assert not torch.equal(word_vectors(1), learned)


@pytest.fixture
def damaged(tiny_bert, tmp_path):
    """Return a function that saves the tiny model with other tensors."""

    def damage(change):
        folder = tmp_path / "damaged"
        shutil.copytree(tiny_bert, folder)
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return str(folder)

    return damage


class TestMismatches:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda tensors: tensors.pop("encoder.layer.1.output.dense.weight"), r"missing: encoder\.layer\.1\.output"),
            (lambda tensors: tensors.update(extra=torch.zeros(2)), "unexpected: extra"),
            (
                lambda tensors: tensors.update({"embeddings.word_embeddings.weight": torch.zeros(9, 32)}),
                "of another shape: embeddings.word_embeddings.weight",
            ),
        ],
    )
    def test_are_listed(self, damaged, change, words):
        folder = damaged(change)
        with pytest.raises(TrainingError, match=words):
            build_model(backbone=folder)

    def test_are_taken_where_allowed(self, damaged):
        folder = damaged(lambda tensors: tensors.update(extra=torch.zeros(2)))
        build_model(backbone=folder, allow_mismatch=True)

    def test_a_pooler_may_be_missing_and_a_head_may_be_there(self, damaged):
        def change(tensors):
            for name in ("pooler.dense.weight", "pooler.dense.bias"):
                del tensors[name]
            tensors["cls.predictions.bias"] = torch.zeros(3)

        build_model(backbone=damaged(change))

    def test_a_configuration_of_more_layers(self, tiny_bert, tmp_path):
        shutil.copytree(tiny_bert, tmp_path / "more")
        path = tmp_path / "more" / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "num_hidden_layers": 3}), encoding="utf-8")
        with pytest.raises(TrainingError, match=r"missing: encoder\.layer\.2\..* and 8 more"):
            build_model(backbone=str(tmp_path / "more"))


def test_what_is_no_backbone(tmp_path, tiny_bert):
    with pytest.raises(EncoderError, match="there is no such folder"):
        build_model(backbone=str(tmp_path / "no"))
    with pytest.raises(RecipeError, match=r"unknown pooling 'maen' \(did you mean 'mean'\?\)"):
        build_model(backbone=str(tiny_bert), pooling="maen")
    (tmp_path / "empty").mkdir()
    with pytest.raises(EncoderError, match="cannot be loaded"):
        build_model(backbone=str(tmp_path / "empty"))


class TestNetworksOfThisPackage:
    def test_a_published_folder_is_trained_without_its_code(self, tiny_bert, tmp_path, sentences):
        parameters = random_parameters(parameter_shapes("jina-bert-v2", {**ALIBI, "vocab_size": len(vocabulary())}))
        folder = write_checkpoint(tmp_path / "published", parameters, vocab_size=len(vocabulary()))
        (folder / "modeling_bert.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()", encoding="utf-8")
        add_sentence_transformer(folder, tiny_bert)
        before = load_encoder(folder).encode_passages(["the dog eats"])
        changes = {"model_settings": {"backbone": str(folder)}, "batch_size": 8, "max_tokens": 32, "limit": 16}
        recipe = builtin_recipe("mirror-bert").changed({**changes, "learning_rate": 1e-3, "drophead": 0.2})
        recipe = recipe.changed({"model_settings": {"pooling": "mean"}})
        train(recipe, sentences, tmp_path / "out")
        assert not (tmp_path / "ran").exists()
        after = load_encoder(tmp_path / "out").encode_passages(["the dog eats"])
        assert after.shape == before.shape
        assert not np.allclose(after, before, atol=1e-4)

    def test_one_is_read_as_it_is(self, tiny_bert, tmp_path):
        folder = write_checkpoint(
            tmp_path / "published",
            random_parameters(parameter_shapes("jina-bert-v2", {**ALIBI, "vocab_size": len(vocabulary())})),
            vocab_size=len(vocabulary()),
        )
        add_sentence_transformer(folder, tiny_bert)
        expected = load_encoder(folder).encode_passages(["the dog eats"])
        found = build_model(backbone=str(folder)).eval().encode(["the dog eats"])
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def test_a_missing_parameter_is_named(self, tiny_bert, tmp_path):
        parameters = random_parameters(parameter_shapes("jina-bert-v2", {**ALIBI, "vocab_size": len(vocabulary())}))
        lost = next(name for name in parameters if "attention" in name)
        del parameters[lost]
        folder = write_checkpoint(tmp_path / "published", parameters, vocab_size=len(vocabulary()))
        add_sentence_transformer(folder, tiny_bert)
        with pytest.raises(EncoderError, match=lost.removeprefix("bert.").replace(".", r"\.")):
            build_model(backbone=str(folder))
