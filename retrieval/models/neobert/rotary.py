"""Rotary positions (Su et al., arXiv 2104.09864): a query and a key turn by angles that grow with their positions.

Their product then depends on the distance between them alone. The pair of components (2j, 2j + 1) turns by
p theta^(-2j / d) at position p. Other networks put component j and j + d / 2 together; their weights do not fit here.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotations(length: int, head_size: int, theta: float, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of all positions, (length, 1, head_size / 2) float32 each.

    In float32 whatever the network computes in: in fewer bits, far positions would fall together.

    Args:
        length: positions 0 to length - 1.
        head_size: d, an even number.
        theta: base of the wavelengths.
        device: where to.
    """
    exponents = torch.arange(0, head_size, 2, device=device, dtype=torch.float32) / head_size  # (head_size / 2,)
    positions = torch.arange(length, device=device, dtype=torch.float32)
    angles = torch.outer(positions, theta**-exponents)[:, None]  # (length, 1, head_size / 2)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn each pair of neighbouring components by its position's angle.

    Args:
        x: (batch, length, n_heads, head_size).
        cosines: see `rotations`.
        sines: see there.

    Returns:
        A tensor of the same shape and type.
    """
    precise = torch.promote_types(x.dtype, torch.float32)
    even, odd = x.to(precise).unflatten(-1, (-1, 2)).unbind(-1)  # (batch, length, n_heads, head_size / 2) each
    turned = torch.stack((even * cosines - odd * sines, even * sines + odd * cosines), dim=-1)
    return turned.flatten(-2).to(x.dtype)
