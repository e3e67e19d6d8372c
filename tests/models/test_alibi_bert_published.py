from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from retrieval.errors import EncoderError
from retrieval.models.alibi_bert import AlibiBertForMaskedLM, AlibiBertForSequenceClassification, AlibiBertModel
from retrieval.models.alibi_bert.published import is_published, load_published, published_config
from retrieval.models.published_folder import parameter_shapes
from retrieval.models.registration import register_backbones
from tests.models.alibi_oracle import SMALL, random_parameters, states
from tests.models.alibi_oracle import parameter_shapes as published_shapes
from tests.models.published_checkpoint import write_checkpoint

FAMILIES = ["jina-bert-v2", "jina-bert-v2-qk-post-norm"]
WIDTH, WORDS = SMALL["hidden_size"], SMALL["vocab_size"]
MASKED_LANGUAGE_HEAD = {
    "cls.predictions.transform.dense.weight": (WIDTH, WIDTH),
    "cls.predictions.transform.dense.bias": (WIDTH,),
    "cls.predictions.transform.LayerNorm.weight": (WIDTH,),
    "cls.predictions.transform.LayerNorm.bias": (WIDTH,),
    "cls.predictions.decoder.weight": (WORDS, WIDTH),
    "cls.predictions.bias": (WORDS,),
}
CLASSIFIER = {"classifier.weight": (1, WIDTH), "classifier.bias": (1,)}
IDS = np.random.default_rng(2).integers(1, WORDS, 11)


@pytest.fixture(params=FAMILIES)
def family(request) -> str:
    return request.param


@pytest.fixture(params=["", "bert."], ids=["bare", "bert."])
def prefix(request) -> str:
    return request.param


@pytest.fixture
def parameters(family) -> dict[str, np.ndarray]:
    return random_parameters(published_shapes(family, SMALL))


def found_states(model) -> np.ndarray:
    model = model.double().eval()
    return model(torch.from_numpy(IDS)[None]).last_hidden_state[0].detach().numpy()


class TestLoading:
    def test_both_families_and_both_prefixes(self, tmp_path, parameters, family, prefix):
        """The numbers of the published equations, with each family's own order of the gate."""
        model = load_published(write_checkpoint(tmp_path, parameters, prefix))
        assert isinstance(model, AlibiBertModel)
        assert model.config.family == family
        assert not model.training
        np.testing.assert_allclose(found_states(model), states(parameters, IDS, n_heads=6, family=family), atol=1e-9)

    def test_the_families_differ_by_more_than_names(self, tmp_path, parameters, family):
        model = load_published(write_checkpoint(tmp_path, parameters))
        halves = "mlp.gated_layers" if family == FAMILIES[0] else "mlp.up_gated_layer"
        for layer in model.encoder.layer:
            weight = layer.get_submodule(halves).weight.data
            weight.copy_(weight.roll(len(weight) // 2, 0))
        swapped = states(parameters, IDS, n_heads=6, family=family)
        assert np.abs(found_states(model) - swapped).max() > 0.01

    def test_feed_forward_type_is_read(self, tmp_path, parameters, family):
        model = load_published(write_checkpoint(tmp_path, parameters, feed_forward_type="reglu"))
        expected = states(parameters, IDS, n_heads=6, family=family, feed_forward_type="reglu")
        np.testing.assert_allclose(found_states(model), expected, atol=1e-9)

    def test_several_files(self, tmp_path, parameters, family):
        write_checkpoint(tmp_path, parameters)
        (tmp_path / "model.safetensors").unlink()
        names = sorted(parameters)
        parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
        for file, part in parts.items():
            save_file({name: parameters[name] for name in part}, tmp_path / file, metadata={"format": "pt"})
        weight_map = {name: file for file, part in parts.items() for name in part}
        (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        expected = states(parameters, IDS, n_heads=6, family=family)
        np.testing.assert_allclose(found_states(load_published(tmp_path)), expected, atol=1e-9)

    def test_masked_language_model(self, tmp_path, parameters, prefix):
        head = random_parameters(MASKED_LANGUAGE_HEAD, seed=1)
        head["cls.predictions.decoder.weight"] = parameters["embeddings.word_embeddings.weight"]
        folder = write_checkpoint(tmp_path, {**parameters, **head}, prefix)
        model = load_published(folder, AlibiBertForMaskedLM)
        hidden = model.bert(torch.from_numpy(IDS)[None]).last_hidden_state
        transformed = torch.nn.functional.layer_norm(
            torch.nn.functional.gelu(
                hidden @ torch.from_numpy(head["cls.predictions.transform.dense.weight"]).T
                + torch.from_numpy(head["cls.predictions.transform.dense.bias"])
            ),
            (WIDTH,),
            torch.from_numpy(head["cls.predictions.transform.LayerNorm.weight"]),
            torch.from_numpy(head["cls.predictions.transform.LayerNorm.bias"]),
            eps=1e-12,
        )
        words = torch.from_numpy(parameters["embeddings.word_embeddings.weight"])
        expected = transformed @ words.T + torch.from_numpy(head["cls.predictions.bias"])
        torch.testing.assert_close(model(torch.from_numpy(IDS)[None]).logits, expected, atol=1e-4, rtol=1e-4)
        assert isinstance(load_published(folder), AlibiBertModel)  # heads are left out

    def test_reranker(self, tmp_path, parameters):
        classifier = random_parameters(CLASSIFIER, seed=1)
        model = load_published(
            write_checkpoint(tmp_path, {**parameters, **classifier}, "bert."), AlibiBertForSequenceClassification
        )
        assert model.config.num_labels == 1
        first = model.bert(torch.from_numpy(IDS)[None]).last_hidden_state[0, 0].detach().numpy()
        pooled = np.tanh(parameters["pooler.dense.weight"] @ first + parameters["pooler.dense.bias"])
        expected = classifier["classifier.weight"] @ pooled + classifier["classifier.bias"]
        np.testing.assert_allclose(model(torch.from_numpy(IDS)[None]).logits[0].detach(), expected, atol=1e-4)


class TestNames:
    def test_missing_and_unexpected_names_are_listed(self, tmp_path, parameters):
        name = next(name for name in parameters if name.endswith("1.attention.output.dense.bias"))
        parameters["encoder.layer.9.other"] = parameters.pop(name)
        folder = write_checkpoint(tmp_path, parameters)
        with pytest.raises(EncoderError, match=rf"missing {name}; unexpected encoder.layer.9.other; name what"):
            load_published(folder)
        with pytest.raises(EncoderError, match=r"fit AlibiBertModel: unexpected encoder.layer.9.other; name what"):
            load_published(folder, allow_missing=["*.dense.bias"])
        load_published(folder, allow_missing=["*.dense.bias"], allow_unexpected=["encoder.layer.9.*"])

    def test_many_names_are_counted(self, tmp_path, parameters):
        kept = {name: value for name, value in parameters.items() if not name.startswith("encoder.layer.1.")}
        count = len(parameters) - len(kept)
        with pytest.raises(EncoderError, match=rf"missing encoder.layer.1.\S+, .* and {count - 12} more"):
            load_published(write_checkpoint(tmp_path, kept))

    def test_head_that_is_missing(self, tmp_path, parameters):
        folder = write_checkpoint(tmp_path, parameters)
        with pytest.raises(EncoderError, match=r"missing classifier.bias, classifier.weight"):
            load_published(folder, AlibiBertForSequenceClassification)
        with pytest.raises(EncoderError, match=r"cls.predictions.bias"):
            load_published(folder, AlibiBertForMaskedLM)
        model = load_published(folder, AlibiBertForMaskedLM, allow_missing=["cls.*"])
        torch.testing.assert_close(
            model.bert.embeddings.word_embeddings.weight.detach(),
            torch.from_numpy(parameters["embeddings.word_embeddings.weight"]),
        )

    def test_another_width(self, tmp_path, parameters):
        with pytest.raises(RuntimeError, match=r"size mismatch|mismatched"):
            load_published(write_checkpoint(tmp_path, parameters, intermediate_size=48))

    def test_a_saved_model_with_missing_names(self, tmp_path, parameters):
        register_backbones()
        load_published(write_checkpoint(tmp_path / "published", parameters)).save_pretrained(tmp_path / "ours")
        weights = load_file(tmp_path / "ours" / "model.safetensors")
        del weights["embeddings.LayerNorm.bias"]
        save_file(weights, tmp_path / "ours" / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(EncoderError, match=r"missing embeddings.LayerNorm.bias"):
            AutoModel.from_pretrained(tmp_path / "ours")


class TestSaving:
    def test_names_stay_and_the_type_is_ours(self, tmp_path, parameters, family):
        register_backbones()
        load_published(write_checkpoint(tmp_path / "published", parameters)).save_pretrained(tmp_path / "ours")
        assert json.loads((tmp_path / "ours" / "config.json").read_text())["model_type"] == "alibi_bert"
        assert parameter_shapes(tmp_path / "ours") == published_shapes(family, SMALL)
        again = AutoModel.from_pretrained(tmp_path / "ours")
        assert isinstance(again, AlibiBertModel)
        np.testing.assert_allclose(found_states(again), states(parameters, IDS, n_heads=6, family=family), atol=1e-9)

    def test_auto_classes(self, tmp_path, parameters):
        register_backbones()
        load_published(
            write_checkpoint(tmp_path / "published", parameters), AlibiBertForMaskedLM, allow_missing=["cls.*"]
        ).save_pretrained(tmp_path / "ours")
        assert isinstance(AutoModelForMaskedLM.from_pretrained(tmp_path / "ours"), AlibiBertForMaskedLM)
        assert isinstance(AutoModel.from_pretrained(tmp_path / "ours"), AlibiBertModel)
        reranker = AutoModelForSequenceClassification.from_pretrained(
            tmp_path / "ours", num_labels=1, allow_missing=["bert.pooler.*", "classifier.*"]
        )
        assert isinstance(reranker, AlibiBertForSequenceClassification)


class TestRefusals:
    def test_a_plain_bert(self, tmp_path, parameters):
        folder = write_checkpoint(tmp_path, parameters, position_embedding_type="absolute")
        assert not is_published(folder)
        with pytest.raises(EncoderError, match="position_embedding_type 'alibi'"):
            load_published(folder)

    def test_no_folder(self, tmp_path):
        assert not is_published(tmp_path / "none")

    def test_damaged_settings(self, tmp_path):
        (tmp_path / "config.json").write_text("{")
        assert not is_published(tmp_path)
        (tmp_path / "config.json").write_text("[]")
        assert not is_published(tmp_path)

    def test_a_setting_is_missing(self, tmp_path, parameters):
        folder = write_checkpoint(tmp_path, parameters)
        settings = json.loads((folder / "config.json").read_text())
        del settings["feed_forward_type"]
        (folder / "config.json").write_text(json.dumps(settings))
        with pytest.raises(EncoderError, match="lacks feed_forward_type"):
            published_config(folder)

    def test_pickled_weights(self, tmp_path, parameters):
        folder = write_checkpoint(tmp_path, parameters)
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        with pytest.raises(EncoderError, match=r"no model.safetensors"):
            load_published(folder)

    def test_damaged_weights(self, tmp_path, parameters):
        folder = write_checkpoint(tmp_path, parameters)
        (folder / "model.safetensors").write_bytes(b"\xff" * 100)
        with pytest.raises(EncoderError, match="cannot be read"):
            load_published(folder)

    def test_a_family_that_is_not_known(self, tmp_path, parameters):
        auto_map = {"AutoModel": "jinaai/jina-bert-v2-qk-devlin-norm-1e-2--modeling_bert.JinaBertModel"}
        with pytest.raises(EncoderError, match="qk-devlin-norm"):
            load_published(write_checkpoint(tmp_path, parameters, auto_map=auto_map))

    def test_a_feed_forward_network_that_is_not_known(self, tmp_path, parameters):
        with pytest.raises(EncoderError, match="'original'; this model knows geglu, reglu"):
            load_published(write_checkpoint(tmp_path, parameters, feed_forward_type="original"))
