"""Rerankers: the candidates of a query to a better order. Nothing heavy is imported before a model is loaded."""

from __future__ import annotations

from retrieval.rerankers.aggregation import Aggregation
from retrieval.rerankers.base import Candidates, Reranker
from retrieval.rerankers.function import FunctionReranker, ScoreFunction
from retrieval.rerankers.loading import RerankerSpec, load_reranker

__all__ = [
    "Aggregation",
    "Candidates",
    "FunctionReranker",
    "Reranker",
    "RerankerSpec",
    "ScoreFunction",
    "load_reranker",
]
