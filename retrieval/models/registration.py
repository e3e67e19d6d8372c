"""Making the architectures of this package known to transformers, so that saved folders load by their model type.

`load_encoder` does it. Whoever loads such a folder with `SentenceTransformer` or `AutoModel` calls it once before.
"""

from __future__ import annotations

from typing import Any


def register_backbones() -> None:
    """Register configurations and models with AutoConfig, AutoModel, AutoModelForMaskedLM and …SequenceClassification.

    It can be called any number of times.
    """
    from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

    from retrieval.models import alibi_bert, monarch_mixer, neobert

    families: list[tuple[Any, Any, Any, Any]] = [
        (
            alibi_bert.AlibiBertConfig,
            alibi_bert.AlibiBertModel,
            alibi_bert.AlibiBertForMaskedLM,
            alibi_bert.AlibiBertForSequenceClassification,
        ),
        (
            monarch_mixer.MonarchMixerConfig,
            monarch_mixer.MonarchMixerModel,
            monarch_mixer.MonarchMixerForMaskedLM,
            monarch_mixer.MonarchMixerForSequenceClassification,
        ),
        (
            neobert.NeoBertConfig,
            neobert.NeoBertModel,
            neobert.NeoBertForMaskedLM,
            neobert.NeoBertForSequenceClassification,
        ),
    ]
    for config, encoder, masked_language_model, classifier in families:
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, encoder, exist_ok=True)
        AutoModelForMaskedLM.register(config, masked_language_model, exist_ok=True)
        AutoModelForSequenceClassification.register(config, classifier, exist_ok=True)
