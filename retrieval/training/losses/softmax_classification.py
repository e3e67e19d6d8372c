"""Sentence-BERT's classification objective: cross-entropy of softmax(W [u; v; |u − v|]).

arXiv 1908.10084, section 3.
"""

from __future__ import annotations

from typing import Any

from torch import nn

DATA = ("labelled",)


def build_loss(model: Any, *, classes: int = 3) -> nn.Module:
    """Return the loss over batches of two sentences and a class number; W is trained along and dropped afterwards.

    This is sentence-transformers' own implementation.

    Args:
        model: a sentence-transformers model of vectors with n components.
        classes: k; W has shape (k, 3n) and a bias.
    """
    from sentence_transformers.sentence_transformer.losses import SoftmaxLoss

    return SoftmaxLoss(model, model.get_embedding_dimension(), num_labels=classes)
