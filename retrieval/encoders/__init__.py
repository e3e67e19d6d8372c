"""Encoders: text to vectors. Nothing heavy is imported before a model is loaded."""

from __future__ import annotations

from retrieval.encoders.base import Encoder, Similarity, fingerprint
from retrieval.encoders.function import FunctionEncoder
from retrieval.encoders.loading import EncoderSpec, load_encoder, reload_encoder
from retrieval.encoders.sparse import SparseEncoder
from retrieval.encoders.sparse_function import SparseFunctionEncoder
from retrieval.encoders.sparse_loading import SparseEncoderSpec, load_sparse_encoder, reload_sparse_encoder

__all__ = [
    "Encoder",
    "EncoderSpec",
    "FunctionEncoder",
    "Similarity",
    "SparseEncoder",
    "SparseEncoderSpec",
    "SparseFunctionEncoder",
    "fingerprint",
    "load_encoder",
    "load_sparse_encoder",
    "reload_encoder",
    "reload_sparse_encoder",
]
