"""Small sparse encoders with random weights, and token sequences to feed their modules with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from retrieval.models.ultra_high_dimensional.module import UltraHighDimensional
from retrieval.models.ultra_high_dimensional.settings import UltraHighDimensionalSettings
from tests.retrieval.conftest import save_backbone

TEXTS = [
    "the search engine",
    "retrieval of a document",
    "the search engine and the model in a query of words",
    "word",
    "",
    "a model is a model",
]


def tiny_encoder(folder: Path, **settings: Any) -> Any:
    """Return a `SparseEncoder` over a BERT of two layers, H = 32."""
    from retrieval.models.ultra_high_dimensional.building import build_encoder

    backbone = save_backbone(folder / "backbone", seed=0)
    defaults: dict[str, Any] = {"layers": (1, 2), "dimensions": (40, 60), "k": 4}
    return build_encoder(backbone, max_tokens=24, device="cpu", **{**defaults, **settings})


def alone(
    hidden_size: int, special_ids: tuple[int, ...] = (0,), seed: int = 0, **settings: Any
) -> UltraHighDimensional:
    """Return the module without a transformer in front of it."""
    torch.manual_seed(seed)
    module = UltraHighDimensional(UltraHighDimensionalSettings(hidden_size, **settings))
    module.special_ids = special_ids
    for linear in module.linears:
        torch.nn.init.normal_(linear.bias, std=0.1)
    return module


def features(hidden: torch.Tensor, lengths: list[int]) -> dict[str, Any]:
    """Return what a transformer gives out: hidden states (batch, T, H) of texts of some lengths, then padding."""
    mask = torch.arange(hidden.shape[1])[None, :] < torch.tensor(lengths)[:, None]
    return {"token_embeddings": hidden, "attention_mask": mask.long(), "input_ids": mask.long()}
