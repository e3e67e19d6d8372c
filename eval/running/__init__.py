"""Running any number of systems on any number of tasks: resumable, each embedding and each common stage once."""

from __future__ import annotations

from eval.running.orchestration import run_tasks
from eval.running.outcome import Comparison, Failed, Skipped, Step
from eval.running.store import Reason, ResultStore, StoredResult, read_reasons, read_results

__all__ = [
    "Comparison",
    "Failed",
    "Reason",
    "ResultStore",
    "Skipped",
    "Step",
    "StoredResult",
    "read_reasons",
    "read_results",
    "run_tasks",
]
