"""Tuning a pipeline's admissions: quality against model calls, every setting ranked from scores computed once."""

from __future__ import annotations

from eval.tuning.grid import make_grid, series
from eval.tuning.report import Check, Setting, TuningReport, best_setting, pareto_set
from eval.tuning.simulation import Simulated, Simulation, simulate
from eval.tuning.tune import tune

__all__ = [
    "Check",
    "Setting",
    "Simulated",
    "Simulation",
    "TuningReport",
    "best_setting",
    "make_grid",
    "pareto_set",
    "series",
    "simulate",
    "tune",
]
