"""BERT with symmetric ALiBi and a gated feed-forward network: 8192 tokens and more (Jina Embeddings 2)."""

from __future__ import annotations

from retrieval.models.alibi_bert.configuration import AlibiBertConfig
from retrieval.models.alibi_bert.modeling import (
    AlibiBertForMaskedLM,
    AlibiBertForSequenceClassification,
    AlibiBertModel,
)

__all__ = ["AlibiBertConfig", "AlibiBertForMaskedLM", "AlibiBertForSequenceClassification", "AlibiBertModel"]
