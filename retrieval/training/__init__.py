"""Training of encoders and rerankers: recipes, losses, readers of examples, and runs that resume and repeat.

```python
from retrieval.training import builtin_recipe, train

report = train(builtin_recipe("mirror-bert"), ["sentences.tsv"], out="my-encoder")
```

A trained encoder is a sentence-transformers folder, which `load_encoder` and plain `SentenceTransformer` load; the
latter wants `trust_remote_code=True` for a pooling of this package. A trained reranker is a folder for `load_reranker`.
Nothing heavy is imported before `train` is called.
"""

from __future__ import annotations

from retrieval.training.recipe import Recipe, builtin_recipe, read_recipe
from retrieval.training.runner import TrainingReport, train

__all__ = ["Recipe", "TrainingReport", "builtin_recipe", "read_recipe", "train"]
