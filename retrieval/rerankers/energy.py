"""How sure a small model is of its answer, as what to route by (E-LANG, Akbari et al. 2022, arXiv 2203.00670)."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

RoutedBy: TypeAlias = Literal["energy", "entropy"]
"""The free energy of the logits, or the entropy of their probabilities, the paper's baseline."""


def free_energy(logits: np.ndarray) -> np.ndarray:
    """Return F(x) = -log sum_k exp(g_k(x)), (n,) float64: low where the model is sure.

    Adding c to all logits lowers F by c, and leaves probabilities as they are: energy keeps what the softmax forgets.

    Args:
        logits: (n, 2), or (n, 1), the second of two of which the first is 0: F = -log(1 + exp(logit)). Then a high
            score is sure and a low one is not, and what the small model puts first keeps its score.
    """
    logits = np.asarray(logits, np.float64)
    first = np.zeros(len(logits)) if logits.shape[1] == 1 else logits[:, 0]
    with np.errstate(invalid="ignore"):  # what is not finite is refused where its documents are known
        return -np.logaddexp(first, logits[:, -1])


def entropy(logits: np.ndarray) -> np.ndarray:
    """Return -sum p ln p of the two classes, (n,) float64, in 0 … ln 2: low where the model is sure, of either.

    Args:
        logits: (n, 2), or (n, 1) whose logistic function is the probability of the second class.
    """
    with np.errstate(invalid="ignore"):
        margin = np.abs(log_odds(logits))
        rare = np.exp(-np.logaddexp(0.0, margin))  # the probability of the less likely class
        return np.log1p(np.exp(-margin)) + np.where(rare > 0, margin, 0.0) * rare


def log_odds(logits: np.ndarray) -> np.ndarray:
    """Return ln(p / (1 - p)) of relevance, (n,) float64: a single logit as it is, of two their difference."""
    logits = np.asarray(logits, np.float64)
    with np.errstate(invalid="ignore"):
        return logits[:, 0] if logits.shape[1] == 1 else logits[:, 1] - logits[:, 0]
