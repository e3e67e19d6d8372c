"""Small models."""

from __future__ import annotations

from tests.rerankers.conftest import classifier
from tests.retrieval.conftest import own_cache, tiny_model

__all__ = ["classifier", "own_cache", "tiny_model"]
