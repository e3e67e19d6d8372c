"""Small cross-encoders with random weights, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.retrieval.conftest import own_cache, save_backbone

__all__ = ["own_cache"]


def save_classifier(folder: Path, *, labels: int = 1, seed: int = 0, layers: int = 2) -> Path:
    """Write a BERT of a few layers with a classification head whose logits are some units apart."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    backbone = save_backbone(folder.parent / f"{folder.name}-backbone", seed=seed)
    torch.manual_seed(seed)
    config = BertConfig.from_pretrained(backbone)
    config.num_labels = labels
    config.num_hidden_layers = layers
    BertForSequenceClassification(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(backbone).save_pretrained(folder)
    return folder


def save_roberta(folder: Path) -> Path:
    """Write a RoBERTa: other special tokens between two texts, positions from behind the padding's, no segments."""
    import torch
    from tokenizers import ByteLevelBPETokenizer
    from tokenizers.processors import RobertaProcessing
    from transformers import RobertaConfig, RobertaForSequenceClassification, RobertaTokenizerFast

    folder.mkdir(parents=True)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(["the search engine ranks a document for a query"] * 4, 300, 1, special_tokens=special)
    bpe.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    bpe.save(str(folder / "tokenizer.json"))
    RobertaTokenizerFast(tokenizer_file=str(folder / "tokenizer.json")).save_pretrained(folder)
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=300,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=130,
        type_vocab_size=1,
        pad_token_id=1,
        initializer_range=0.3,
        num_labels=1,
    )
    RobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


def save_other(folder: Path, kind: str) -> Path:
    """Write a classifier with the BERT's tokenizer: "distil" has no segments, "alibi" is this package's own network."""
    import torch
    from transformers import AutoTokenizer, DistilBertConfig, DistilBertForSequenceClassification

    from retrieval.models.alibi_bert import AlibiBertConfig, AlibiBertForSequenceClassification

    tokenizer = AutoTokenizer.from_pretrained(save_backbone(folder.parent / f"{folder.name}-backbone", seed=0))
    sizes: dict[str, Any] = {"vocab_size": len(tokenizer), "num_labels": 1, "initializer_range": 0.3}
    torch.manual_seed(0)
    if kind == "distil":
        config = DistilBertConfig(dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=64, **sizes)
        model: Any = DistilBertForSequenceClassification(config)
    else:
        shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
        model = AlibiBertForSequenceClassification(AlibiBertConfig(**shape, **sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_causal(folder: Path) -> Path:
    """Write a decoder that says "yes" or "no", which the library makes a cross-encoder of two modules of."""
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    backbone = save_backbone(folder.parent / f"{folder.name}-backbone", seed=0)
    tokenizer = AutoTokenizer.from_pretrained(backbone, padding_side="left")
    tokenizer.add_tokens(["yes", "no"])
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that saves a cross-encoder ("bert", "roberta" …) with settings and returns its folder."""
    made: dict[str, Path] = {}

    def make(kind: str = "bert", **settings: Any) -> Path:
        key = repr((kind, sorted(settings.items())))
        if key not in made:
            save = {
                "bert": save_classifier,
                "roberta": save_roberta,
                "distil": partial(save_other, kind="distil"),
                "alibi": partial(save_other, kind="alibi"),
                "causal": save_causal,
            }[kind]
            made[key] = save(tmp_path_factory.mktemp(kind) / "model", **settings)
        return made[key]

    return make
