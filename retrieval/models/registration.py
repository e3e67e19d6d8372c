"""Making the architectures of this package known to transformers, so that saved folders load by their model type.

`load_encoder` does it. Whoever loads such a folder with `SentenceTransformer` or `AutoModel` calls it once before.
"""

from __future__ import annotations


def register_backbones() -> None:
    """Register configurations and models with AutoConfig, AutoModel, AutoModelForMaskedLM and …SequenceClassification.

    It can be called any number of times.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

    from retrieval.models.alibi_bert import (
        AlibiBertConfig,
        AlibiBertForMaskedLM,
        AlibiBertForSequenceClassification,
        AlibiBertModel,
    )

    AutoConfig.register(AlibiBertConfig.model_type, AlibiBertConfig, exist_ok=True)
    AutoModel.register(AlibiBertConfig, AlibiBertModel, exist_ok=True)
    AutoModelForMaskedLM.register(AlibiBertConfig, AlibiBertForMaskedLM, exist_ok=True)
    AutoModelForSequenceClassification.register(AlibiBertConfig, AlibiBertForSequenceClassification, exist_ok=True)
