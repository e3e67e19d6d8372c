"""MaxSim, the score of late interaction: each token of the query takes its most similar token of the passage.

`score = sum over i in q of max over j in p of <q_i, p_j>` (Khattab and Zaharia, "ColBERT", SIGIR 2020, equation 3).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from indexes.token_vectors import TokenVectors

_BLOCK = 2048
"""Tokens whose similarities are computed together: they stay in the processor's cache until their maxima are taken."""


def maxsim(queries: Tensor, query_mask: Tensor, passages: Tensor, passage_mask: Tensor) -> Tensor:
    """Return the score of each query with the passage in the same row, (n,) float32; gradients flow.

    Args:
        queries: (n, query tokens, d).
        query_mask: (n, query tokens) bool, tokens that count.
        passages: (n, passage tokens, d).
        passage_mask: (n, passage tokens) bool, at least one in each row.
    """
    similarities = queries.float() @ passages.float().transpose(1, 2)  # (n, query tokens, passage tokens)
    similarities = similarities.masked_fill(~passage_mask[:, None], -torch.inf)
    best = similarities.max(dim=2).values  # (n, query tokens)
    return best.masked_fill(~query_mask, 0.0).sum(dim=1)


def maxsim_packed(query: Tensor, passages: TokenVectors) -> np.ndarray:
    """Return the scores of one query with many passages, (n,) float32, without padding and on the processor.

    Args:
        query: (query tokens, d), all of which count.
        passages: states of any float type; a passage without tokens scores -inf.
    """
    offsets, lengths = passages.offsets, passages.lengths
    scores = np.full(len(lengths), -np.inf, np.float32)
    columns = query.detach().float().cpu().T.contiguous()  # (d, query tokens)
    filled = np.flatnonzero(lengths)
    start = 0
    while start < len(filled):
        # As many whole passages as fit in a block, at least one; those without tokens between them take no room.
        first = int(offsets[filled[start]])
        end = max(int(np.searchsorted(offsets[filled + 1], first + _BLOCK, side="right")), start + 1)
        rows = filled[start:end]
        block = torch.from_numpy(passages.some(int(rows[0]), int(rows[-1]) + 1).decoded())
        similarities = (block @ columns).numpy()  # (tokens, query tokens)
        scores[rows] = np.maximum.reduceat(similarities, offsets[rows] - first, axis=0).sum(axis=1)
        start = end
    return scores
