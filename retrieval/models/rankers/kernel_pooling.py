"""Kernel pooling: how many tokens of a passage are similar to a query's token to each of some degrees, softly counted.

`K_k(C) = exp(-(C - mu_k)² / (2 sigma_k²))` of cosines C, summed over the passage (Xiong et al., "K-NRM", SIGIR 2017),
with the eleven kernels of TK (Hofstätter et al., ECAI 2020).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

MEANS = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9)
WIDTH = 0.1

SMALLEST = 1e-10
"""Smallest count whose logarithm is taken."""


def cosines(queries: Tensor, passages: Tensor) -> Tensor:
    """Return the cosine of each token of a query with each of the passage in its row; 0 for a state of zeros.

    Args:
        queries: (n, query tokens, d).
        passages: (n, passage tokens, d).

    Returns:
        (n, query tokens, passage tokens) float32.
    """
    first, second = (functional.normalize(states.float(), dim=-1) for states in (queries, passages))
    return first @ second.transpose(1, 2)


def kernel_sums(similarities: Tensor, passage_mask: Tensor, means: Sequence[float], widths: Sequence[float]) -> Tensor:
    """Return the soft count of each kernel for each token of the query, (n, query tokens, kernels).

    Args:
        similarities: (n, query tokens, passage tokens).
        passage_mask: (n, passage tokens) bool, tokens that count.
        means: mu of each kernel.
        widths: sigma of each kernel.
    """
    counted = passage_mask[:, None].to(similarities.dtype)  # (n, 1, passage tokens)
    # One kernel after the other: all at once would hold eleven times the similarities.
    sums = [
        (torch.exp((similarities - mean).square() / (-2 * width**2)) * counted).sum(dim=2)
        for mean, width in zip(means, widths, strict=True)
    ]
    return torch.stack(sums, dim=2)
