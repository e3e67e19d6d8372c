"""NeoBERT: 28 narrow layers, RMSNorm before each part, SwiGLU, rotary positions, 4096 tokens (arXiv 2502.19587).

A folder with a published checkpoint is an encoder as it is, without its code; or a network to go on with:

```python
from retrieval.encoders import load_encoder
from retrieval.models.neobert import NeoBertForMaskedLM
from retrieval.models.neobert.published import load_published

encoder = load_encoder("NeoBERT", pooling="cls")                # a folder; its model card reads the first token
network = load_published("NeoBERT")                             # NeoBertModel
network = load_published("NeoBERT", NeoBertForMaskedLM)         # with its own masked-language-model head
```
"""

from __future__ import annotations

from retrieval.models.neobert.configuration import NeoBertConfig
from retrieval.models.neobert.modeling import NeoBertForMaskedLM, NeoBertForSequenceClassification, NeoBertModel

__all__ = ["NeoBertConfig", "NeoBertForMaskedLM", "NeoBertForSequenceClassification", "NeoBertModel"]
