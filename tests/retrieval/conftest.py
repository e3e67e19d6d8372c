"""Small sentence-transformers models with random weights, made on the spot."""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

WORDS = [
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "is",
    "search",
    "engine",
    "retrieval",
    "document",
    "query",
    "model",
    "word",
]
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *WORDS,
    *string.ascii_lowercase,
    *(f"##{letter}" for letter in string.ascii_lowercase),
    *(f"##{ending}" for ending in ("ing", "ed", "er", "s", "tion")),
    *string.digits,
    *(f"##{digit}" for digit in string.digits),
    *string.punctuation,
    *"検索日本語",
]


def save_backbone(folder: Path, *, seed: int, lower_case: bool = True, pooler: bool = True) -> Path:
    """Write a BERT of two layers and its WordPiece tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
    BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=lower_case).save_pretrained(folder)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    BertModel(config, add_pooling_layer=pooler).save_pretrained(folder)
    return folder


DEFAULTS: dict[str, Any] = {
    "pooling": "mean",
    "include_prompt": True,
    "normalize": True,
    "dense": None,
    "max_tokens": 24,
    "prompts": {},
    "similarity": None,
    "seed": 0,
    "lower_case": True,
    "pooler": True,
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that saves a model with settings as in `DEFAULTS` and returns its folder."""
    made: dict[str, Path] = {}

    def make(**changes: Any) -> Path:
        settings = DEFAULTS | changes
        key = repr(sorted(settings.items()))
        if key not in made:
            made[key] = save_model(tmp_path_factory.mktemp("model"), settings)
        return made[key]

    return make


def save_model(root: Path, settings: Mapping[str, Any]) -> Path:
    """Write a sentence-transformers model below `root` and return its folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    backbone = save_backbone(
        root / "backbone", seed=settings["seed"], lower_case=settings["lower_case"], pooler=settings["pooler"]
    )
    modules: list[Any] = [
        Transformer(str(backbone), max_seq_length=settings["max_tokens"]),
        Pooling(32, pooling_mode=settings["pooling"], include_prompt=settings["include_prompt"]),
    ]
    if settings["dense"]:
        torch.manual_seed(settings["seed"])
        modules.append(Dense(32, settings["dense"]))
    if settings["normalize"]:
        modules.append(Normalize())
    model = SentenceTransformer(
        modules=modules, device="cpu", prompts=dict(settings["prompts"]), similarity_fn_name=settings["similarity"]
    )
    model.save_pretrained(str(root / "model"), create_model_card=False)
    return root / "model"


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep digests out of the user's cache; an empty one for each test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder
