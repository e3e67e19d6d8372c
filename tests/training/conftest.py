"""Tiny models to train: real architectures with random weights, made once, offline."""

from __future__ import annotations

import json

import pytest

# ruff: noqa: SIM905
WORDS = (
    "the a an of in on and to is are was were man woman child dog cat bird plays reads runs eats sleeps guitar book "
    "ball park house river city music food small large red green old new happy quickly slowly with without under night"
).split()


def vocabulary() -> list[str]:
    """Return a vocabulary of word pieces: whole words of the test sentences, and every letter."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,:?![]'\""
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """The folder of a BERT of two layers with random weights, as transformers saves it."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    pieces = vocabulary()
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(pieces), encoding="utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def sentence(number: int) -> str:
    """Return a sentence that differs from those of all other numbers."""
    return " ".join(WORDS[(number * step + step * step) % len(WORDS)] for step in range(2, 10)) + f" {number}"


@pytest.fixture
def sentences(tmp_path):
    """A file of 48 sentences."""
    path = tmp_path / "sentences.txt"
    path.write_text("".join(sentence(number) + "\n" for number in range(48)), encoding="utf-8")
    return path


@pytest.fixture
def tuples(tmp_path):
    """A file of 40 queries with a positive and two negatives each."""
    rows = [
        {
            "query": sentence(number),
            "positive": sentence(number + 1000),
            "negatives": [sentence(number + 2000), sentence(number + 3000)],
        }
        for number in range(40)
    ]
    path = tmp_path / "tuples.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
