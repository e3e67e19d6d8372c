"""Analysis: text becomes terms, by one analyser for documents and queries."""

from __future__ import annotations

from retrieval.analysis.analyser import Analyser
from retrieval.analysis.settings import AnalyserSettings
from retrieval.analysis.term_table import TermTable

__all__ = ["Analyser", "AnalyserSettings", "TermTable"]
