"""Monarch matrices: block-diagonal matrices and fixed permutations in turn (Dao et al., arXiv 2204.00595; 2310.12109).

A vector of N = m^2 numbers, written as an m × m array, is multiplied by m blocks of m × m, transposed (the permutation
P), multiplied again, and so on: N^(3/2) multiplications instead of N^2. The discrete Fourier transform is one of them,
which is why a convolution by fast Fourier transform counts as a Monarch operation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def block_diagonal_multiply(x: Tensor, blocks: Tensor) -> Tensor:
    """Return the product of a block-diagonal matrix with vectors, (…, n_blocks · out).

    Args:
        x: (…, n_blocks · in).
        blocks: (n_blocks, out, in), the matrices on the diagonal.
    """
    n_blocks, size_out, size_in = blocks.shape
    rows = x.reshape(-1, n_blocks, size_in).transpose(0, 1)  # (n_blocks, n, in)
    product = torch.bmm(rows, blocks.transpose(1, 2))  # (n_blocks, n, out)
    return product.transpose(0, 1).reshape(*x.shape[:-1], n_blocks * size_out)


def monarch_multiply(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return P B2 P B1 P x, (…, m · m), where P transposes a vector that is written as an m × m array.

    Args:
        x: (…, m · m).
        first: (m, m, m), the blocks of B1.
        second: (m, m, m), the blocks of B2.
    """
    for blocks in (first, second):
        x = block_diagonal_multiply(_transposed(x), blocks)
    return _transposed(x)


def fourier_blocks(n: int) -> tuple[Tensor, Tensor]:
    """Return the blocks by which `monarch_multiply` is the discrete Fourier transform, (m, m, m) complex128 each.

    With n1, n2 and k1, k2 for the digits of the indices, the sum over n1 is block n2 of B1, with the twiddle factors
    w_N^(n2 k1); the sum over n2 is each block of B2.

    Args:
        n: a square m · m.

    Raises:
        ValueError: it is no square.
    """
    m = math.isqrt(n)
    if m * m != n:
        raise ValueError(f"{n} is no square number")
    digits = torch.arange(m, dtype=torch.float64)
    transform = torch.exp(-2j * math.pi * torch.outer(digits, digits) / m)  # (k, n)
    twiddles = torch.exp(-2j * math.pi * torch.outer(digits, digits) / n)  # (n2, k1)
    return twiddles[:, :, None] * transform, transform.expand(m, m, m)


def _transposed(x: Tensor) -> Tensor:
    m = math.isqrt(x.shape[-1])
    return x.unflatten(-1, (m, m)).transpose(-1, -2).flatten(-2)


class BlockDiagonalLinear(nn.Module):
    """A linear layer whose matrix is block-diagonal: parameters and multiplications divided by the number of blocks.

    Args:
        in_features: width of the input, a multiple of `n_blocks`.
        out_features: width of the output, a multiple of `n_blocks`.
        n_blocks: blocks; one makes it `torch.nn.Linear`.
        bias: with a bias over the whole output.
    """

    def __init__(self, in_features: int, out_features: int, n_blocks: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_blocks, out_features // n_blocks, in_features // n_blocks))
        self.bias = nn.Parameter(torch.zeros(out_features)) if bias else None
        bound = self.initial_bound
        nn.init.uniform_(self.weight, -bound, bound)

    @property
    def initial_bound(self) -> float:
        """Initial weights are uniform between plus and minus this, as `torch.nn.Linear` of one block has them."""
        return float(self.weight.shape[2]) ** -0.5

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, out_features) of (…, in_features)."""
        product = block_diagonal_multiply(x, self.weight)
        return product if self.bias is None else product + self.bias
