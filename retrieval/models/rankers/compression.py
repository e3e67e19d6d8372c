"""Fewer numbers for each state that is kept: down and up again (PreTTR, arXiv 2004.14255)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


class Compression(nn.Module):
    """`r = GELU(W_d s + b_d)` is kept, `LayerNorm(W_u r + b_u)` stands for s.

    Args:
        hidden: numbers of a state.
        size: numbers that are kept of it.
    """

    def __init__(self, hidden: int, size: int) -> None:
        super().__init__()
        self.down = nn.Linear(hidden, size)
        self.up = nn.Linear(size, hidden)
        self.norm = nn.LayerNorm(hidden)

    def compressed(self, states: Tensor) -> Tensor:
        """Return what is kept, (…, size), of (…, hidden)."""
        return functional.gelu(self.down(states))

    def expanded(self, kept: Tensor) -> Tensor:
        """Return what stands for the states, (…, hidden), of (…, size)."""
        found: Tensor = self.norm(self.up(kept))
        return found

    def forward(self, states: Tensor) -> Tensor:
        """Return states as they come back, (…, hidden)."""
        return self.expanded(self.compressed(states))
