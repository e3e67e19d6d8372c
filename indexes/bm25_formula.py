"""The formula of BM25 and its parameters.

    score(q, d) = sum over terms t of q:  weight(t) * idf(t) * tf / (tf + k1 * (1 - b + b * length / average length))
    idf(t)      = ln(1 + (N - df + 0.5) / (df + 0.5))

This is the formula of Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section
3.4, in Lucene's form: an idf that is positive for every term, and no factor k1 + 1, which changes no order (Kamphuis et
al., "Which BM25 Do You Mean?", ECIR 2020, table 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

LARGEST_PARAMETER = 1e100
"""Keeps scores finite: the largest k1 and query weight."""


@dataclass(frozen=True)
class BM25Settings:
    """BM25's two parameters; other values need no new index.

    Attributes:
        k1: how slowly repeated occurrences of a term saturate, at least 0 (0: only presence counts).
        b: how much long documents are held back, 0 (not at all) to 1 (fully, by length).
    """

    k1: float = 1.2
    b: float = 0.75

    def __post_init__(self) -> None:
        if not 0 <= self.k1 <= LARGEST_PARAMETER:
            raise ValueError(f"k1 must be a finite number of at least 0, not {self.k1!r}; usual is 0.9 to 2")
        if not 0 <= self.b <= 1:
            raise ValueError(f"b must be between 0 and 1, not {self.b!r}")


def inverse_document_frequency(n_documents: int, document_frequency: int) -> float:
    """Return ln(1 + (N - df + 0.5) / (df + 0.5)), positive for every df up to N."""
    return math.log1p((n_documents - document_frequency + 0.5) / (document_frequency + 0.5))


def length_norms(relative_lengths: np.ndarray, settings: BM25Settings, unit: int) -> np.ndarray:
    """Return what stands beside tf below the fraction, (n_documents,) float64.

    Args:
        relative_lengths: (n_documents,) float64, each document's length over the average.
        settings: k1 and b.
        unit: term frequencies are multiples of 1 / unit, and so is what is added to them.
    """
    return settings.k1 * unit * (1 - settings.b + settings.b * relative_lengths)
