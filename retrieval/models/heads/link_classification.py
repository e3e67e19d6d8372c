"""T-BERT's classifiers of links between artefacts: the siamese form over two vectors, the single form over one.

Lin et al., "Traceability Transformed: Generating more Accurate Links with Pre-Trained BERT Models" (arXiv 2102.04411)
and its code, github.com/jinfenglin/TraceBERT, common/models.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from retrieval.errors import EncoderError
from retrieval.models.heads.base import Head


class _LinkHead(Head):
    """Dropout, a dense layer of d with tanh, dropout, two logits."""

    settings = ("dimension", "dropout")
    sides = 1

    def __init__(self, dimension: int = 768, dropout: float = 0.1) -> None:
        super().__init__()
        if dimension < 1 or not 0 <= dropout < 1:
            raise EncoderError(f"dimension must be positive and dropout in [0, 1), not {dimension} and {dropout}")
        self.dimension = dimension
        self.dropout = dropout
        self.dense = nn.Linear(self.sides * dimension, dimension)
        self.out = nn.Linear(dimension, 2)

    def _logits(self, joined: Tensor) -> Tensor:
        left = functional.dropout(joined, self.dropout, self.training)
        hidden = torch.tanh(self.dense(left))  # (n, d)
        return self.out(functional.dropout(hidden, self.dropout, self.training))


class SiameseLinkHead(_LinkHead):
    """Probability that a query's artefact and a passage's belong together, from their vectors.

    z = [p; q; |p - q|], the passage first, as the paper has code before text; hence the score changes when query and
    passage are exchanged. Vectors are made once for each text and stored.

    Args:
        dimension: components of the vectors, d.
        dropout: share of the values that training leaves out, before each layer.

    Raises:
        EncoderError: `dimension` is not positive, or the share is not below one.
    """

    sides = 3

    def logits(self, queries: Tensor, passages: Tensor) -> Tensor:
        """Return the logits of no link and link, (n, 2), of two times (n, d).

        Raises:
            EncoderError: the vectors are not two of shape (n, d).
        """
        self.check(queries, passages)
        return self._logits(torch.cat([passages, queries, (passages - queries).abs()], dim=1))

    def forward(self, queries: Tensor, passages: Tensor) -> Tensor:
        """Return the probabilities of a link, (n,), of two times (n, d).

        Raises:
            EncoderError: the vectors are not two of shape (n, d).
        """
        return torch.softmax(self.logits(queries, passages), dim=1)[:, 1]


class SingleLinkHead(_LinkHead):
    """Probability that two artefacts belong together, from the [CLS] of both in one sequence.

    Slower than the siamese form, since every pair goes through the encoder, and better in the paper.

    Args:
        dimension: components of [CLS], d.
        dropout: as in `SiameseLinkHead`.

    Raises:
        EncoderError: `dimension` is not positive, or the share is not below one.
    """

    def logits(self, pairs: Tensor) -> Tensor:
        """Return the logits of no link and link, (n, 2), of (n, d).

        Raises:
            EncoderError: the vectors are not of shape (n, d).
        """
        self.check(pairs)
        return self._logits(pairs)

    def forward(self, pairs: Tensor) -> Tensor:
        """Return the probabilities of a link, (n,), of (n, d).

        Raises:
            EncoderError: the vectors are not of shape (n, d).
        """
        return torch.softmax(self.logits(pairs), dim=1)[:, 1]


def link_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits (n, 2) against labels (n,), 1 for a link and 0 for none."""
    return functional.cross_entropy(logits, labels.long())
