"""Tiny sentence-transformers models with random weights."""

from __future__ import annotations

import string

import pytest

# ruff: noqa: SIM905
WORDS = "the a man woman dog cat bird plays reads runs eats guitar book ball park house river green old new".split()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """The folder of a model of three layers with random weights, mean pooling and unit length; reads 24 tokens."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase), ".", ","]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder / "backbone")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(folder / "backbone")
    modules = [Transformer(str(folder / "backbone"), max_seq_length=24), Pooling(32, "mean"), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder / "model"), create_model_card=False)
    return folder / "model"


@pytest.fixture(scope="session")
def tiny_states(tiny_model):
    """What comes out of its layers."""
    from eval.probes.layer_states import load_layer_states

    return load_layer_states(str(tiny_model))
