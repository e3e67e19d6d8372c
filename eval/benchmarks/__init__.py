"""Speed beside the field's usual tools: indexing against bm25s and sentence-transformers, and cold starts.

`python -m eval.benchmarks` runs all and writes `RESULTS.md`; each module runs alone too.
"""

from __future__ import annotations
