"""M2-BERT: long convolutions instead of attention, for texts of up to 32,768 tokens (Monarch Mixer)."""

from __future__ import annotations

from retrieval.models.monarch_mixer.configuration import MonarchMixerConfig
from retrieval.models.monarch_mixer.modeling import (
    MonarchMixerForMaskedLM,
    MonarchMixerForSequenceClassification,
    MonarchMixerModel,
)

__all__ = [
    "MonarchMixerConfig",
    "MonarchMixerForMaskedLM",
    "MonarchMixerForSequenceClassification",
    "MonarchMixerModel",
]
