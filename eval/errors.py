"""Errors of the measuring floor; each message is one line that names the fact, the offending value and the fix."""

from __future__ import annotations

from retrieval.errors import RetrievalError


class EvaluationError(RetrievalError):
    """Something cannot be measured as asked; base of all errors raised in `eval`."""


class MeasureError(EvaluationError):
    """A measure does not exist, lacks a parameter or needs software that is not installed."""


class TestSetError(EvaluationError):
    """A test set's folder or one of its files is missing or unusable."""

    __test__ = False  # pytest takes classes called Test... for tests


class RunError(EvaluationError):
    """A run cannot be read, written or evaluated."""


class TaskError(EvaluationError):
    """A task's definition or its data cannot be used, or a system cannot be measured on it."""


class MissingDataError(TaskError):
    """A task's data is not there; its definition may be sound."""


class ResultError(EvaluationError):
    """A stored result cannot be read or written."""


class ComparisonError(EvaluationError):
    """Results cannot be compared: they are of different items, or twice of the same."""


class ReportError(EvaluationError):
    """A report cannot be written as asked."""


class TuningError(EvaluationError):
    """A pipeline cannot be tuned as asked."""


class ReproductionError(EvaluationError):
    """A benchmark's two sides do not compute the same thing, or one of them failed."""
