"""The measuring floor: test sets, runs, measures and reports of what `retrieval` finds.

The package shadows a built-in function: import from it as `from eval.measures import evaluate_run`, and run its
commands with `python -m eval.reproduce` and `python -m eval.benchmarks`.
"""

from __future__ import annotations
