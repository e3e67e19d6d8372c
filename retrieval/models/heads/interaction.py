"""The interaction head of a siamese web ranker, with its two losses (Seznam's "residual max").

Kocián et al., "Siamese BERT-based Model for Web Search Relevance Ranking Evaluated on a New Czech Dataset" (arXiv
2112.01810) and its code, github.com/seznam/DaReCzech, pytorch_finetuning.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from retrieval.errors import EncoderError
from retrieval.models.heads.base import Head


class InteractionHead(Head):
    """Relevance from -1 to 1 of vectors e_q and e_d: tanh(w . z + b), the same when the two are exchanged.

    z = [cos(e_q, e_d); ||e_q - e_d||; h] with m = max(e_q, e_d) for each component, f = W2 dropout(GELU(W1 m)) and
    h = GELU(f) + m. The layers W1 and W2 have biases.

    Args:
        dimension: components of the vectors, d; 256 in the paper.
        inner: width between W1 and W2; 512 in the paper.
        dropout: share of the inner values that training leaves out.

    Raises:
        EncoderError: a number is not positive, or the share is not below one.
    """

    settings = ("dimension", "inner", "dropout")

    def __init__(self, dimension: int = 256, inner: int = 512, dropout: float = 0.25) -> None:
        super().__init__()
        if dimension < 1 or inner < 1 or not 0 <= dropout < 1:
            raise EncoderError(
                f"dimension and inner must be positive and dropout in [0, 1), not {dimension}, {inner} and {dropout}"
            )
        self.dimension = dimension
        self.inner = inner
        self.dropout = dropout
        self.widening = nn.Linear(dimension, inner)
        self.narrowing = nn.Linear(inner, dimension)
        self.scoring = nn.Linear(dimension + 2, 1)

    def interaction(self, queries: Tensor, passages: Tensor) -> Tensor:
        """Return z, (n, d + 2): cosine, distance, then h.

        Raises:
            EncoderError: the vectors are not two of shape (n, d).
        """
        self.check(queries, passages)
        cosine = functional.cosine_similarity(queries, passages)  # (n,)
        distance = torch.linalg.vector_norm(queries - passages, dim=1)  # (n,)
        largest = torch.maximum(queries, passages)  # (n, d)
        inner = functional.dropout(functional.gelu(self.widening(largest)), self.dropout, self.training)  # (n, inner)
        residual = functional.gelu(self.narrowing(inner)) + largest  # (n, d)
        return torch.cat([cosine[:, None], distance[:, None], residual], dim=1)

    def forward(self, queries: Tensor, passages: Tensor) -> Tensor:
        """Return the scores, (n,), of two times (n, d).

        Raises:
            EncoderError: the vectors are not two of shape (n, d).
        """
        return torch.tanh(self.scoring(self.interaction(queries, passages))[:, 0])


def relevance_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared error of scores against 2 (label - 0.5).

    Args:
        scores: (n,), from -1 to 1.
        labels: (n,), relevance from 0 to 1.
    """
    return functional.mse_loss(scores, 2 * (labels.to(scores) - 0.5))


def distillation_loss(scores: Tensor, labels: Tensor, teacher: Tensor) -> Tensor:
    """Return the mean of the errors against the labels and against a teacher, 0.5 (MSE(s, y) + MSE(s, t)).

    The teacher is a cross-encoder that ends in a sigmoid, or the mean of several; its scores are brought from [0, 1] to
    [-1, 1] as the labels are.

    Args:
        scores: (n,), from -1 to 1.
        labels: (n,), relevance from 0 to 1.
        teacher: (n,), the teacher's scores, from 0 to 1.
    """
    return 0.5 * (relevance_loss(scores, labels) + relevance_loss(scores, teacher))
