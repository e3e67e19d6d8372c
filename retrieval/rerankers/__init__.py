"""Rerankers: the candidates of a query to a better order. Nothing heavy is imported before a model is loaded."""

from __future__ import annotations

from retrieval.rerankers.aggregation import Aggregation
from retrieval.rerankers.base import Candidates, Reranker
from retrieval.rerankers.bert_qe import BertQE, Expansion
from retrieval.rerankers.birch import BirchReranker, Interpolation
from retrieval.rerankers.duo import DuoBudget
from retrieval.rerankers.duo_folder import create_duo
from retrieval.rerankers.function import FunctionReranker, ScoreFunction
from retrieval.rerankers.loading import RerankerSpec, load_reranker
from retrieval.rerankers.passages import PassageReranker
from retrieval.rerankers.query_routing import QueryRoutingReranker
from retrieval.rerankers.routing import Calibration, RoutingReranker, fit_calibration
from retrieval.rerankers.splitting import Splitting

__all__ = [
    "Aggregation",
    "BertQE",
    "BirchReranker",
    "Calibration",
    "Candidates",
    "DuoBudget",
    "Expansion",
    "FunctionReranker",
    "Interpolation",
    "PassageReranker",
    "QueryRoutingReranker",
    "Reranker",
    "RerankerSpec",
    "RoutingReranker",
    "ScoreFunction",
    "Splitting",
    "create_duo",
    "fit_calibration",
    "load_reranker",
]
