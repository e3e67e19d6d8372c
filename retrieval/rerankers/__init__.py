"""Rerankers: the candidates of a query to a better order. Nothing heavy is imported before a model is loaded."""

from __future__ import annotations

from retrieval.rerankers.base import Candidates, Reranker
from retrieval.rerankers.function import FunctionReranker, ScoreFunction

__all__ = ["Candidates", "FunctionReranker", "Reranker", "ScoreFunction"]
