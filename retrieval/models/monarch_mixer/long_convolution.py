"""Convolution with a kernel as long as the text, to both sides, by fast Fourier transform."""

from __future__ import annotations

import torch
from torch import Tensor

CHANNELS = 64
"""Channels that are transformed together: their spectra stay in a processor's cache, and memory does not grow with all
channels at once."""

_ODD_FACTORS = (1, 3, 5, 9, 15)


def two_sided_convolution(x: Tensor, forward: Tensor, backward: Tensor) -> Tensor:
    """Return y[t] = sum over s of k[t - s] x[s], where k[j] = forward[j] and k[-(j + 1)] = backward[j], j >= 0.

    What stands at a position reaches later ones by the forward kernel and earlier ones by the backward kernel; nothing
    wraps round. Computed in float32 at least (arXiv 2402.07440; github.com/HazyResearch/m2, hyena_utils.py).

    Args:
        x: (batch, channels, length).
        forward: (channels, length).
        backward: (channels, length).

    Returns:
        (batch, channels, length) in the type of `x`.
    """
    length = x.shape[-1]
    size = fast_length(2 * length)
    dtype = torch.promote_types(x.dtype, torch.float32)
    outputs = []
    for part, ahead, behind in zip(
        x.split(CHANNELS, dim=1), forward.split(CHANNELS), backward.split(CHANNELS), strict=True
    ):
        gap = ahead.new_zeros(len(ahead), size - 2 * length)
        kernel = torch.cat([ahead, gap, behind.flip(-1)], dim=-1).to(dtype)  # (channels, size): lags 0 …, -length … -1
        spectrum = torch.fft.rfft(part.to(dtype), n=size) * torch.fft.rfft(kernel)
        outputs.append(torch.fft.irfft(spectrum, n=size)[..., :length].to(x.dtype))
    return torch.cat(outputs, dim=1)


def fast_length(n: int) -> int:
    """Return the smallest even length of at least n whose Fourier transform is fast: a power of 2 times 1, 3, 5, 9, 15.

    Args:
        n: at least 1.
    """
    return min(factor * 2 ** max(1, _ceil_log2(n, factor)) for factor in _ODD_FACTORS)


def _ceil_log2(n: int, factor: int) -> int:
    return (-(-n // factor) - 1).bit_length()
