"""Embedding and retrieval engine: index documents, search them by words and vectors, measure the results.

```python
from retrieval import Collection, read_documents

collection = Collection.open_or_create("my.index")
collection.upsert(read_documents("corpus.jsonl"))
hits = collection.search("query", k=10)
```

Names are imported when they are first used, so that `import retrieval` costs nothing and a lexical search never loads a
model's libraries.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from indexes.aggregation import Aggregation
    from indexes.bm25 import BM25Settings
    from retrieval.analysis import Analyser, AnalyserSettings
    from retrieval.chunking import ChunkSettings
    from retrieval.collection.collection import Collection
    from retrieval.collection.reports import ChangeReport
    from retrieval.collection.settings import Fields, Fusion
    from retrieval.collection.token_slot import TokenStates
    from retrieval.documents import Document, DocumentReader, read_documents
    from retrieval.encoders import Encoder, FunctionEncoder, SparseFunctionEncoder, load_encoder, load_sparse_encoder
    from retrieval.errors import QueryError, RerankerError, RetrievalError
    from retrieval.filters import Filter, field, parse_filter
    from retrieval.pipeline import Pipeline, Plan, parse_stages
    from retrieval.rerankers import Candidates, FunctionReranker, PassageReranker, Reranker, Splitting, load_reranker
    from retrieval.results import Explanation, Hit, MatchedPassage, SearchResults

__all__ = [
    "Aggregation",
    "Analyser",
    "AnalyserSettings",
    "BM25Settings",
    "Candidates",
    "ChangeReport",
    "ChunkSettings",
    "Collection",
    "Document",
    "DocumentReader",
    "Encoder",
    "Explanation",
    "Fields",
    "Filter",
    "FunctionEncoder",
    "FunctionReranker",
    "Fusion",
    "Hit",
    "MatchedPassage",
    "PassageReranker",
    "Pipeline",
    "Plan",
    "QueryError",
    "Reranker",
    "RerankerError",
    "RetrievalError",
    "SearchResults",
    "SparseFunctionEncoder",
    "Splitting",
    "TokenStates",
    "field",
    "load_encoder",
    "load_reranker",
    "load_sparse_encoder",
    "parse_filter",
    "parse_stages",
    "read_documents",
]

_HOMES = {
    "indexes.aggregation": ("Aggregation",),
    "indexes.bm25": ("BM25Settings",),
    "retrieval.analysis": ("Analyser", "AnalyserSettings"),
    "retrieval.chunking": ("ChunkSettings",),
    "retrieval.collection.collection": ("Collection",),
    "retrieval.collection.reports": ("ChangeReport",),
    "retrieval.collection.settings": ("Fields", "Fusion"),
    "retrieval.collection.token_slot": ("TokenStates",),
    "retrieval.documents": ("Document", "DocumentReader", "read_documents"),
    "retrieval.encoders": (
        "Encoder",
        "FunctionEncoder",
        "SparseFunctionEncoder",
        "load_encoder",
        "load_sparse_encoder",
    ),
    "retrieval.errors": ("QueryError", "RerankerError", "RetrievalError"),
    "retrieval.filters": ("Filter", "field", "parse_filter"),
    "retrieval.pipeline": ("Pipeline", "Plan", "parse_stages"),
    "retrieval.rerankers": (
        "Candidates",
        "FunctionReranker",
        "PassageReranker",
        "Reranker",
        "Splitting",
        "load_reranker",
    ),
    "retrieval.results": ("Explanation", "Hit", "MatchedPassage", "SearchResults"),
}
_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("retrieval-engine")
    elif name in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    else:
        raise AttributeError(f"module 'retrieval' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
