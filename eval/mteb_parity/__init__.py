"""Do our tasks give the numbers that the package `mteb` gives on the same data? Both sides, side by side.

python -m eval.mteb_parity --data ../shared/data --tasks BIOSSES --tasks STSBenchmark --output parity
"""

from __future__ import annotations
