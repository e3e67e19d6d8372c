"""States of passages' tokens as they are kept: one passage behind the other, without padding."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from indexes.token_vectors import TokenVectors, gathered


def padded(passages: TokenVectors, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the states of some passages, (m, longest, width) float32, and a mask, (m, longest) bool."""
    chosen = gathered([passages], rows)
    mask = np.arange(int(chosen.lengths.max(initial=0))) < chosen.lengths[:, None]  # (m, longest)
    states = np.zeros((*mask.shape, chosen.width), np.float32)
    states[mask] = chosen.decoded()
    return torch.from_numpy(states), torch.from_numpy(mask)


def pack(
    batches: Iterable[tuple[np.ndarray, Tensor, Tensor]], n: int, width: int, dtype: np.dtype[np.generic]
) -> TokenVectors:
    """Return the states of batches of passages without their padding.

    Args:
        batches: rows (m,) int64, of all batches together each of n once; states (m, tokens, width); mask (m, tokens).
        n: passages.
        width: numbers of a state.
        dtype: float32 or float16.
    """
    lengths = np.zeros(n, np.int64)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for rows, states, mask in batches:
        lengths[rows] = mask.sum(dim=1).cpu().numpy()
        with np.errstate(over="ignore"):  # what float16 cannot hold is infinite, and refused by those who keep it
            found.append((rows, states[mask].float().cpu().numpy().astype(dtype)))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    packed = np.empty((int(offsets[-1]), width), dtype)
    for rows, values in found:
        places = np.repeat(offsets[rows] - (np.cumsum(lengths[rows]) - lengths[rows]), lengths[rows])
        packed[places + np.arange(len(values))] = values
    return TokenVectors(offsets, packed)


def kept_first(states: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return states with those that are kept in front, in their order, and their mask.

    Args:
        states: (n, tokens, width).
        kept: (n, tokens) bool.

    Returns:
        (n, most kept, width) and (n, most kept) bool.
    """
    order = torch.argsort((~kept).to(torch.uint8), dim=1, stable=True)[:, : int(kept.sum(dim=1).max())]
    return states.gather(1, order[..., None].expand(-1, -1, states.shape[-1])), kept.gather(1, order)
