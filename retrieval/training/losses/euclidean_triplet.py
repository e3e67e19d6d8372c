"""Sentence-BERT's triplet objective: max(‖a − p‖ − ‖a − n‖ + margin, 0) (arXiv 1908.10084, section 3)."""

from __future__ import annotations

from typing import Any

from torch import nn

DATA = ("tuples",)


def build_loss(model: Any, *, margin: float = 1.0) -> nn.Module:
    """Return the mean loss over batches of anchor, positive and negative, by Euclidean distance.

    This is sentence-transformers' own implementation, with the paper's margin of 1 instead of its default of 5.
    """
    from sentence_transformers.sentence_transformer.losses import TripletLoss

    return TripletLoss(model, triplet_margin=margin)
