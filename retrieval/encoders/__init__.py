"""Encoders: text to vectors. Nothing heavy is imported before a model is loaded."""

from __future__ import annotations

from retrieval.encoders.base import Encoder, Similarity, fingerprint
from retrieval.encoders.function import FunctionEncoder
from retrieval.encoders.loading import EncoderSpec, load_encoder, reload_encoder

__all__ = [
    "Encoder",
    "EncoderSpec",
    "FunctionEncoder",
    "Similarity",
    "fingerprint",
    "load_encoder",
    "reload_encoder",
]
