"""Small backbones with random weights, and networks around them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.rerankers.conftest import save_other
from tests.retrieval.conftest import own_cache, save_backbone

__all__ = ["own_cache"]

QUERIES = ["search engine", "a query of the model", "", "naïve 検索"]
PASSAGES = ["the document is a word, and a word", "search engine retrieval in the document", "", "...", "a " * 60]


@pytest.fixture(scope="session")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Return a function that saves an encoder ("bert" or "distil") with 64 positions and returns its folder."""
    made: dict[str, Path] = {}

    def make(kind: str = "bert") -> str:
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind)
            made[kind] = save_backbone(folder / "model", seed=0) if kind == "bert" else _distil(folder)
        return str(made[kind])

    return make


def _distil(folder: Path) -> Path:
    from transformers import AutoTokenizer, DistilBertModel

    classifier = save_other(folder / "classifier", "distil")
    DistilBertModel.from_pretrained(classifier).save_pretrained(folder / "model")
    AutoTokenizer.from_pretrained(classifier).save_pretrained(folder / "model")
    return folder / "model"


@pytest.fixture
def seeded() -> Any:
    """Make what is drawn the same in each test."""
    import torch

    return torch.manual_seed(0)
