"""What stands behind a sentence-transformers network, in NumPy: pooling, dense layers, normalisation.

The formulas are those of sentence-transformers' modules `Pooling`, `Dense` and `Normalize`. Token states come packed,
one text behind the other, without padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

POOLINGS = ("mean", "cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""Poolings that are computed here, in the words of sentence-transformers."""


def _sigmoid(values: np.ndarray) -> np.ndarray:
    exponential: np.ndarray = np.exp(-np.abs(values))
    return np.where(values >= 0, 1, exponential) / (1 + exponential)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Tanh": np.tanh,
    "Identity": lambda values: values,
    "ReLU": lambda values: np.maximum(values, 0),
    "Sigmoid": _sigmoid,
}
"""Activations of a dense layer, by the name of their class in `torch.nn.modules`."""


@dataclass(frozen=True, eq=False)
class DenseLayer:
    """A linear map and its activation.

    Attributes:
        weight: (out, in) float32.
        bias: (out,) float32; None where there is none.
        activation: a name of `ACTIVATIONS`.
    """

    weight: np.ndarray
    bias: np.ndarray | None
    activation: str

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Map vectors, (n, in) to (n, out)."""
        mapped = vectors @ self.weight.T
        return ACTIVATIONS[self.activation](mapped if self.bias is None else mapped + self.bias)


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Divide vectors by their Euclidean norms, (n, d); none is divided by less than 1e-12, as in torch."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    divided: np.ndarray = vectors / np.maximum(norms, np.float32(1e-12))
    return divided


Step = Callable[[np.ndarray], np.ndarray]
"""From pooled vectors, (n, in), to vectors, (n, out)."""


@dataclass(frozen=True, eq=False)
class SentenceHead:
    """A pooling and the steps behind it.

    Attributes:
        pooling: one of `POOLINGS`.
        steps: what is done to pooled vectors, in order: a `DenseLayer`, or `normalised`.
    """

    pooling: str
    steps: Sequence[Step]

    def __call__(self, states: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the vectors of texts.

        Args:
            states: (total, hidden) float32, of one text behind the other.
            lengths: (n,) tokens of each text, each at least 1.

        Returns:
            (n, d) float32.
        """
        vectors = pool(states, lengths, self.pooling)
        for step in self.steps:
            vectors = step(vectors)
        return vectors


def pool(states: np.ndarray, lengths: np.ndarray, pooling: str) -> np.ndarray:
    """Return one vector for each text, (n, hidden) float32; see `SentenceHead`."""
    ends = np.cumsum(lengths)
    starts = ends - lengths
    if pooling == "cls":
        return states[starts]
    if pooling == "lasttoken":
        return states[ends - 1]
    if pooling == "max":
        return np.maximum.reduceat(states, starts, axis=0)
    if pooling == "weightedmean":
        weights = (np.arange(len(states)) - np.repeat(starts, lengths) + 1).astype(np.float32)  # (total,)
        sums = np.add.reduceat(states * weights[:, None], starts, axis=0)
        return sums / np.add.reduceat(weights, starts)[:, None]
    counts = lengths.astype(np.float32)[:, None]  # (n, 1)
    return np.add.reduceat(states, starts, axis=0) / (counts if pooling == "mean" else np.sqrt(counts))
