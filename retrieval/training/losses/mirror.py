"""Self-supervised InfoNCE over two copies of each text: Mirror-BERT's loss and NT-Xent.

Mirror-BERT (arXiv 2104.08027, equation 1); NT-Xent: SimCLR (arXiv 2002.05709).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from retrieval.training.embedding_loss import EmbeddingLoss, check_temperature, cosine_matrix

DATA = ("sentences", "pairs")


def mirror(first: Tensor, second: Tensor, *, temperature: float = 0.04, positive_in_denominator: bool = True) -> Tensor:
    """Return the mean over all 2B vectors of −log( e^{s(x,x')/t} / Σ_{y in N(x)} e^{s(x,y)/t} ).

    x' is the other copy of x and s the cosine. N(x) is every other vector of the 2B: with the copy x' (NT-Xent, as the
    released code of Mirror-BERT does; the loss is never negative), or without it (as the paper writes; it can be).

    Args:
        first: (B, d), one copy of each text.
        second: (B, d), the other copy.
        temperature: t.
        positive_in_denominator: whether N(x) holds the copy.

    Returns:
        A scalar; infinite for one text without the copy in the denominator, where N(x) is empty.
    """
    n = len(first)
    both = torch.cat([first, second])  # (2B, d)
    scores = cosine_matrix(both, both) / temperature  # (2B, 2B)
    copies = torch.arange(2 * n, device=both.device).roll(n)
    positives = scores.gather(1, copies[:, None]).squeeze(1)  # (2B,)
    left_out = torch.eye(2 * n, dtype=torch.bool, device=both.device)
    if not positive_in_denominator:
        left_out = left_out | left_out.roll(n, dims=1)
    return (scores.masked_fill(left_out, -torch.inf).logsumexp(dim=1) - positives).mean()


def build_loss(model: nn.Module, *, temperature: float = 0.04, positive_in_denominator: bool = True) -> nn.Module:
    """Return the loss over batches of two columns, the two copies of each text.

    Raises:
        RecipeError: the temperature is not positive.
    """
    check_temperature(temperature)
    return EmbeddingLoss(
        model,
        lambda columns: mirror(
            columns[0],
            columns[1],
            temperature=temperature,
            positive_in_denominator=positive_in_denominator,
        ),
    )
