"""Pseudo-relevance feedback: a retriever's best documents are taken for relevant, and change its query."""

from __future__ import annotations

from retrieval.feedback.settings import (
    METHODS,
    RM3,
    Feedback,
    Rocchio,
    SparseRocchio,
    VectorAverage,
    VectorRocchio,
    parse_feedback,
)

__all__ = [
    "METHODS",
    "RM3",
    "Feedback",
    "Rocchio",
    "SparseRocchio",
    "VectorAverage",
    "VectorRocchio",
    "parse_feedback",
]
