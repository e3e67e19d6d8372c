"""Speed beside the field's usual tools: indexing, BM25, learned sparse and binary search, growth, and cold starts.

`python -m eval.benchmarks` runs all and writes `RESULTS.md` and the plots; each benchmark's module runs alone too. The
extra `peers` brings the libraries to compare with.
"""

from __future__ import annotations
