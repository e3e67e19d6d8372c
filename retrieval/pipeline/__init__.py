"""Searches in several stages: retrievers, fused, then rerankers, each with the number of documents that it admits."""

from __future__ import annotations

from retrieval.pipeline.grammar import StagesSpec, parse_stages
from retrieval.pipeline.order import StageRank
from retrieval.pipeline.plan import Plan, PlannedStage
from retrieval.pipeline.report import StageReport
from retrieval.pipeline.stages import Admission, Pipeline, Retriever

__all__ = [
    "Admission",
    "Pipeline",
    "Plan",
    "PlannedStage",
    "Retriever",
    "StageRank",
    "StageReport",
    "StagesSpec",
    "parse_stages",
]
