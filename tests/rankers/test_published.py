"""Checkpoints of ColBERT and PreTTR in the layouts of their authors, with random numbers and without code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from retrieval.errors import RerankerError
from retrieval.models.rankers.kinds import load_network
from retrieval.models.rankers.published import load_published
from retrieval.rerankers import load_reranker
from retrieval.training.builders import colbert, prettr
from tests.rankers.students import lists, scores_of

pytestmark = pytest.mark.usefixtures("own_cache")

TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json")


@pytest.fixture
def long_backbone(backbone, tmp_path):
    """A DistilBERT or BERT with as many positions as the published ones need."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    def make(kind):
        config = AutoConfig.from_pretrained(backbone(kind))
        config.max_position_embeddings = 256
        folder = tmp_path / f"long-{kind}"
        AutoModel.from_config(config).save_pretrained(folder)
        AutoTokenizer.from_pretrained(backbone(kind)).save_pretrained(folder)
        return folder

    return make


def publish(network, folder: Path, names, config, tokenizer=False) -> Path:
    """Write a network's parameters under other names."""
    network.save(folder.parent / "ours")
    folder.mkdir()
    tensors = load_file(folder.parent / "ours" / "model.safetensors")
    renamed = {}
    for name, tensor in tensors.items():
        ours = next(prefix for prefix in names if name.startswith(prefix))
        renamed[names[ours] + name.removeprefix(ours)] = tensor
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config))
    for name in TOKENIZER if tokenizer else ():
        if (folder.parent / "ours" / name).is_file():
            shutil.copy(folder.parent / "ours" / name, folder)
    return folder


def test_colbert_of_the_study(long_backbone, seeded, tmp_path):
    backbone = long_backbone("distil")
    network = colbert.build_model(backbone=str(backbone), dimension=24).eval()
    config = {"model_type": "ColBERT", "architectures": ["ColBERT"], "bert_model": str(backbone), "compression_dim": 24}
    names = {"backbone.": "bert_model.", "projection.": "compressor."}
    folder = publish(network, tmp_path / "published", names, config)
    loaded = load_network(folder)
    assert loaded.settings == network.settings
    np.testing.assert_array_equal(scores_of(loaded), scores_of(network))
    reranker = load_reranker(folder, device="cpu")
    np.testing.assert_allclose(reranker.score(["search"], lists(["search"])), scores_of(network, ["search"]), rtol=1e-5)
    loaded.save(tmp_path / "again")
    np.testing.assert_array_equal(scores_of(load_network(tmp_path / "again")), scores_of(network))
    shutil.move(backbone, tmp_path / "moved")
    with pytest.raises(RerankerError, match="no tokenizer or backbone configuration of its own"):
        load_network(folder)
    moved = load_published(folder, backbone=tmp_path / "moved")
    np.testing.assert_array_equal(scores_of(moved), scores_of(network))


def test_the_original_colbert(long_backbone, seeded, tmp_path):
    backbone = long_backbone("bert")
    network = colbert.build_model(
        backbone=str(backbone), form="original", dimension=24, query_tokens=20, passage_tokens=180
    ).eval()
    config = {**network.backbone.config.to_dict(), "architectures": ["HF_ColBERT"]}
    names = {"backbone.": "bert.", "projection.": "linear."}
    folder = publish(network, tmp_path / "published", names, config, tokenizer=True)
    metadata = {
        "query_token_id": "[unused0]",
        "doc_token_id": "[unused1]",
        "query_maxlen": 20,
        "doc_maxlen": 180,
        "mask_punctuation": True,
        "attend_to_mask_tokens": False,
        "similarity": "cosine",
        "dim": 24,
    }
    (folder / "artifact.metadata").write_text(json.dumps(metadata))
    loaded = load_network(folder)
    assert loaded.settings == network.settings
    np.testing.assert_array_equal(scores_of(loaded), scores_of(network))
    (folder / "artifact.metadata").write_text(json.dumps(metadata | {"similarity": "l2"}))
    with pytest.raises(RerankerError, match="compares by 'l2'"):
        load_network(folder)
    (folder / "artifact.metadata").write_text(json.dumps(metadata | {"doc_maxlen": "long"}))
    with pytest.raises(RerankerError, match=r"artifact\.metadata is damaged"):
        load_network(folder)


def test_prettr_of_the_study(long_backbone, seeded, tmp_path):
    network = prettr.build_model(backbone=str(long_backbone("distil")), join_layer=1).eval()
    config = {**network.backbone.config.to_dict(), "architectures": ["PreTTR"], "join_layer_idx": 1}
    names = {"backbone.": "", "scoring.": "_classification_layer."}
    folder = publish(network, tmp_path / "published", names, config, tokenizer=True)
    loaded = load_network(folder)
    assert loaded.settings == network.settings
    np.testing.assert_array_equal(scores_of(loaded), scores_of(network))


def test_parameters_that_do_not_fit_are_listed(long_backbone, seeded, tmp_path):
    backbone = long_backbone("distil")
    network = colbert.build_model(backbone=str(backbone), dimension=24)
    config = {"model_type": "ColBERT", "bert_model": str(backbone)}
    names = {"backbone.": "bert_model.", "projection.": "compressor."}
    folder = publish(network, tmp_path / "published", names, config)
    tensors = load_file(folder / "model.safetensors")
    tensors["bert_model.embeddings.position_ids"] = tensors["compressor.bias"][None].clone()  # older checkpoints'
    save_file(tensors, folder / "model.safetensors")
    assert load_network(folder).settings.dimension == 24
    bias = tensors.pop("compressor.bias")
    save_file({**tensors, "other": bias}, folder / "model.safetensors")
    with pytest.raises(RerankerError, match=r"missing: projection\.bias; unexpected: backbone\.other"):
        load_network(folder)
    del tensors["compressor.weight"]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(RerankerError, match=r"missing: compressor\.weight or linear\.weight"):
        load_network(folder)


def test_a_plain_encoder_is_no_ranking_network(backbone):
    with pytest.raises(RerankerError, match=r"no ranking network: it has no reranker\.json"):
        load_network(backbone())
    with pytest.raises(RerankerError, match="no published ColBERT or PreTTR: its architecture is 'BertModel'"):
        load_published(Path(backbone()))
