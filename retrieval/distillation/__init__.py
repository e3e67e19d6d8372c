"""A teacher's scores for students: scoring tuples once, the mean of several teachers, and the files of both.

```python
from retrieval.distillation import ensemble, score_tuples
from retrieval.rerankers import load_reranker

score_tuples(load_reranker("teacher-1"), "msmarco", "t1.tsv")      # goes on where it was interrupted
ensemble(["t1.tsv", "t2.tsv", "t3.tsv"], "t123.tsv")
```

Students are trained on such files by recipes for data of kind "scored_tuples". Nothing heavy is imported here.

Source: Hofstätter et al., "Improving Efficient Neural Ranking Models with Cross-Architecture Knowledge Distillation"
(arXiv 2010.02666), section 3.
"""

from __future__ import annotations

from retrieval.distillation.conversion import convert
from retrieval.distillation.ensemble import ensemble
from retrieval.distillation.scoring import ScoringReport, score_tuples

__all__ = ["ScoringReport", "convert", "ensemble", "score_tuples"]
