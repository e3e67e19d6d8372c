"""Small sparse models with random weights, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.models.sparse_models import tiny_encoder
from tests.retrieval.conftest import own_cache, save_backbone

__all__ = ["own_cache"]


def save_splade(root: Path, *, seed: int = 0, **settings: Any) -> Path:
    """Write a SPLADE model: a BERT with its head for masked words, and max pooling."""
    import torch
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling
    from transformers import AutoTokenizer, BertConfig, BertForMaskedLM

    backbone = save_backbone(root / "backbone", seed=seed)
    torch.manual_seed(seed)
    BertForMaskedLM(BertConfig.from_pretrained(backbone)).save_pretrained(root / "mlm")
    AutoTokenizer.from_pretrained(backbone).save_pretrained(root / "mlm")
    transformer = Transformer(str(root / "mlm"), transformer_task="fill-mask", max_seq_length=24)
    pooling = SpladePooling(settings.pop("pooling", "max"))
    model = SparseEncoder(modules=[transformer, pooling], device="cpu", **settings)
    model.save_pretrained(str(root / "model"), create_model_card=False)
    return root / "model"


def save_buckets(root: Path, **settings: Any) -> Path:
    """Write an ultra-high-dimensional model."""
    tiny_encoder(root, **settings).save_pretrained(str(root / "model"), create_model_card=False)
    return root / "model"


@pytest.fixture(scope="session")
def sparse_model(tmp_path_factory):
    """Return a function that saves a model ("splade" or "buckets") with settings and returns its folder."""
    made: dict[str, Path] = {}

    def make(kind: str, **settings: Any) -> Path:
        key = repr((kind, sorted(settings.items())))
        if key not in made:
            save = {"splade": save_splade, "buckets": save_buckets}[kind]
            made[key] = save(tmp_path_factory.mktemp(kind), **settings)
        return made[key]

    return make
