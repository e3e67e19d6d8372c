"""The measuring floor: test sets, runs, measures and reports of what `retrieval` finds.

The package shadows a built-in function: import from it as `from eval.measures import evaluate_run`, and run its
commands as `python -m eval.benchmarks` and `python -m eval.experiments`.
"""

from __future__ import annotations
