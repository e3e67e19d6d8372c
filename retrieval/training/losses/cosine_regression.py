"""Sentence-BERT's regression objective: mean squared error of cos(u, v) (arXiv 1908.10084, section 3)."""

from __future__ import annotations

from typing import Any

from torch import nn

DATA = ("scored",)


def build_loss(model: Any) -> nn.Module:
    """Return the loss over batches of two sentences and a similarity from 0 to 1.

    This is sentence-transformers' own implementation.
    """
    from sentence_transformers.sentence_transformer.losses import CosineSimilarityLoss

    return CosineSimilarityLoss(model)
