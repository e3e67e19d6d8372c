"""BERT with symmetric ALiBi and a gated feed-forward network: 8192 tokens and more (Jina Embeddings 2).

A folder with a published checkpoint is an encoder as it is, without its code; or a network to go on with:

```python
from retrieval.encoders import load_encoder
from retrieval.models.alibi_bert import AlibiBertForMaskedLM
from retrieval.models.alibi_bert.published import load_published

encoder = load_encoder("jina-embeddings-v2-small-en")                        # reads 8192 tokens
network = load_published("jina-embeddings-v2-small-en")                      # AlibiBertModel
network = load_published("…", AlibiBertForMaskedLM, allow_missing=["cls.*"])   # a new head
```

Without such a checkpoint, a BERT's weights are a beginning (`from_bert`, and the recipe `alibi-distillation`).
"""

from __future__ import annotations

from retrieval.models.alibi_bert.configuration import AlibiBertConfig
from retrieval.models.alibi_bert.modeling import (
    AlibiBertForMaskedLM,
    AlibiBertForSequenceClassification,
    AlibiBertModel,
)

__all__ = ["AlibiBertConfig", "AlibiBertForMaskedLM", "AlibiBertForSequenceClassification", "AlibiBertModel"]
