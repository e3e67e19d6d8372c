from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from retrieval.encoders import load_encoder
from retrieval.errors import EncoderError
from retrieval.models.alibi_bert import published as alibi_published
from retrieval.models.monarch_mixer import MonarchMixerForMaskedLM, MonarchMixerModel
from retrieval.models.monarch_mixer.published import is_published, load_published, published_config
from tests.models.monarch_oracle import NETWORK, SMALL, parameter_shapes, random_parameters, states
from tests.models.published_checkpoint import add_sentence_transformer
from tests.retrieval.conftest import save_backbone

RELEASED_CONFIG = {
    "alibi_starting_size": 32768,
    "architectures": ["BertForSequenceClassification"],
    "attention_probs_dropout_prob": 0.0,
    "bidirectional": True,
    "auto_map": {"AutoModel": "bert_layers.BertModel"},
    "classifier_dropout": None,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hyena_emb_dim": 5,
    "hyena_filter_dropout": 0.2,
    "hyena_lr_pos_emb": 1e-05,
    "hyena_training_additions": False,
    "hyena_w": 10,
    "hyena_w_mod": 1,
    "hyena_wd": 0.1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-12,
    "long_conv_kernel_learning_rate": 0.001,
    "model_type": "m2_bert",
    "monarch_mlp_nblocks": 4,
    "num_attention_heads": 12,
    "pad_token_id": 0,
    "pool_all": False,
    "position_embedding_type": "absolute",
    "residual_long_conv": True,
    "transformers_version": "4.28.1",
    "type_vocab_size": 2,
    "use_cache": True,
    "use_glu_mlp": True,
    "use_monarch_mlp": True,
    "use_positional_encodings": True,
    **SMALL,
}
"""config.json of togethercomputer/m2-bert-80M-32k-retrieval, with other widths."""

IDS = np.random.default_rng(2).integers(1, SMALL["vocab_size"], 11)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def released(folder: Path, prefix: str = "bert.", **changes) -> Path:
    """Write a checkpoint with all names that the released code's state has, the repeated and derived ones as well."""
    parameters = random_parameters(parameter_shapes(SMALL))
    repeated = {"embeddings.position_ids": np.arange(40)[None]}
    for number in range(2):
        for name in ("filter_fn", "filter_fn2"):
            part = f"encoder.layer.{number}.attention.{name}."
            frequencies = parameters[f"{part}implicit_filter.1.freq"]
            for network in NETWORK:
                repeated |= {f"{part}{network}.{place}.freq": frequencies.copy() for place in (1, 3, 5)}
            repeated[f"{part}pos_emb.t"] = np.linspace(0, 1, 40, dtype=np.float32)[None, :, None]
            repeated[f"{part}modulation.deltas"] = np.ones((1, 1, 16), np.float32)
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**RELEASED_CONFIG, **changes}))
    state = {prefix + name: value for name, value in {**parameters, **repeated}.items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("prefix", ["", "bert.", "model.bert."])
@pytest.mark.parametrize("model_type", ["bert", "m2_bert"])
def test_is_the_released_network(tmp_path, prefix, model_type):
    model = load_published(released(tmp_path, prefix, model_type=model_type))
    assert isinstance(model, MonarchMixerModel)
    found = model.double()(torch.from_numpy(IDS)[None]).last_hidden_state[0].detach()
    expected = states(random_parameters(parameter_shapes(SMALL)), IDS, longest=40)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_padding_is_a_setting(tmp_path):
    ids, mask = torch.tensor([[5, 6, 0, 0]]), torch.tensor([[1, 1, 0, 0]])
    ours, theirs = (load_published(released(tmp_path), mask_padding=masked) for masked in (True, False))
    alone = ours(ids[:, :2]).last_hidden_state
    torch.testing.assert_close(ours(ids, mask).last_hidden_state[:, :2], alone, atol=1e-5, rtol=0)
    assert (theirs(ids, mask).last_hidden_state[:, :2] - alone).abs().max() > 0.01


def test_missing_names_are_listed(tmp_path):
    with pytest.raises(EncoderError, match=r"missing cls.predictions.bias, .*transform"):
        load_published(released(tmp_path), MonarchMixerForMaskedLM)


def test_load_encoder_takes_the_folder(tmp_path):
    tokenizer = save_backbone(tmp_path / "tokenizer", seed=0)
    folder = add_sentence_transformer(released(tmp_path / "released", model_type="bert"), tokenizer)
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({**pooling, "word_embedding_dimension": 16}))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 40, "do_lower_case": False}))
    encoder = load_encoder(folder, batch_tokens=64)
    texts = ["the search engine", "a", "the search engine " * 30]
    together = encoder.encode_passages(texts)
    alone = np.concatenate([encoder.encode_passages([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert encoder.max_tokens == 40
    assert "mask_padding=True" in encoder.identity()["modules"][0]
    half = load_encoder(folder, precision="bf16").encode_passages(texts)
    cosines = (half * alone).sum(axis=1) / np.linalg.norm(half, axis=1) / np.linalg.norm(alone, axis=1)
    assert cosines.min() > 0.99


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "roberta"}, "no released Monarch Mixer checkpoint"),
        ({"use_glu_mlp": False}, "says use_glu_mlp False; this network has True"),
        ({"hyena_training_additions": True}, "hyena_training_additions"),
    ],
)
def test_other_networks(tmp_path, changes, message):
    with pytest.raises(EncoderError, match=message):
        published_config(released(tmp_path, **changes))


def test_a_setting_is_missing(tmp_path):
    folder = released(tmp_path)
    settings = json.loads((folder / "config.json").read_text())
    del settings["hyena_filter_order"]
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(EncoderError, match="lacks hyena_filter_order"):
        published_config(folder)


def test_the_families_are_told_apart(tmp_path):
    folder = released(tmp_path)
    assert is_published(folder)
    assert not alibi_published.is_published(folder)
