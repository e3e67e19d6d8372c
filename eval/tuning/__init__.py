"""Tuning a pipeline's admissions against model calls, and interpolations: settings ranked from scores computed once."""

from __future__ import annotations

from eval.tuning.grid import make_grid, series
from eval.tuning.interpolation import Fold, InterpolationReport, make_interpolations, tune_interpolation
from eval.tuning.report import Check, Setting, TuningReport, best_setting, pareto_set
from eval.tuning.simulation import Simulated, Simulation, simulate
from eval.tuning.tune import tune

__all__ = [
    "Check",
    "Fold",
    "InterpolationReport",
    "Setting",
    "Simulated",
    "Simulation",
    "TuningReport",
    "best_setting",
    "make_grid",
    "make_interpolations",
    "pareto_set",
    "series",
    "simulate",
    "tune",
    "tune_interpolation",
]
