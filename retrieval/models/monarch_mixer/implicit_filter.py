"""Kernels of long convolutions that are computed, not stored: Hyena's implicit filters (arXiv 2302.10866, section 3).

A small network with sine activations maps positional features of each lag to the kernel's values in all channels; an
exponential window, from slow to fast over the channels, makes it fade. Attributes spell the released parameter names
(github.com/HazyResearch/m2, bert/src/mm/hyena_utils.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from retrieval.models.monarch_mixer.configuration import MonarchMixerConfig
from retrieval.models.monarch_mixer.long_convolution import two_sided_convolution

_SLOWEST, _FASTEST, _FADED = 1.5, 0.3, 0.01
"""In how many units of time a channel's window fades to a hundredth."""


def positional_features(length: int, n_features: int) -> Tensor:
    """Return the features of every lag, (length, n_features) float32: [t, cos(f w), …, -sin(f w), …].

    t goes from 0 to 1 over the length, w = 2 pi n / length at lag n, and the frequencies f go linearly from 1e-4 to one
    less than their number.

    Args:
        length: the longest input.
        n_features: odd; one for t, half of the rest for the cosines and half for the sines.
    """
    n_bands = (n_features - 1) // 2
    lags = torch.arange(length)[:, None]  # (length, 1)
    lowest = 1e-4
    frequencies = lowest + (n_bands - 1 - lowest) / max(1, n_bands - 1) * torch.arange(n_bands)  # (n_bands,)
    angles = 2 * math.pi * lags / length * frequencies  # (length, n_bands)
    return torch.cat([lags / max(1, length - 1), angles.cos(), -angles.sin()], dim=1)


class Sine(nn.Module):
    """sin(w_mod · freq · x) with a learnt frequency for each unit.

    Args:
        width: units.
        initial: the frequency to start from.
        factor: w_mod, fixed.
    """

    def __init__(self, width: int, initial: float, factor: float) -> None:
        super().__init__()
        self.initial = initial
        self.factor = factor
        self.freq = nn.Parameter(torch.full((1, width), float(initial)))

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return torch.sin(self.factor * self.freq * x)


class PositionalFeatures(nn.Module):
    """The features of all lags, which start as `positional_features` and are learnt at a low rate.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: MonarchMixerConfig) -> None:
        super().__init__()
        self.z = nn.Parameter(positional_features(config.long_conv_l_max, config.hyena_emb_dim)[None])


class HyenaFilter(nn.Module):
    """A long convolution to both sides with implicit kernels, and a learnt multiple of the input.

    Its parameters and kernels stay in float32 at least, whatever the rest of the model is cast to: the 8 bits of a
    bfloat16 cannot tell neighbouring lags from one another.

    Args:
        config: the model's settings.
    """

    def __init__(self, config: MonarchMixerConfig) -> None:
        super().__init__()
        self.longest = config.long_conv_l_max
        self.bias = nn.Parameter(torch.randn(config.hidden_size))
        self.pos_emb = PositionalFeatures(config)
        sine = Sine(config.hyena_filter_order, config.hyena_w, config.hyena_w_mod)
        self.implicit_filter = _kernel_network(config, sine)
        self.implicit_filter_rev = _kernel_network(config)

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution plus bias · x, (batch, hidden_size, length) of the same shape."""
        ahead, behind = self.kernels(x.shape[-1])
        return two_sided_convolution(x, ahead, behind) + (x * self.bias[:, None]).to(x.dtype)

    def kernels(self, length: int) -> tuple[Tensor, Tensor]:
        """Return the kernels towards later and towards earlier positions, (hidden_size, length) each."""
        features = self.pos_emb.z[0, :length]
        window = self.window(length).to(features.dtype)
        # Both networks share the frequencies of their sines, as the released ones do.
        sine = self.implicit_filter["1"]
        with torch.autocast(features.device.type, enabled=False):
            ahead = _computed(self.implicit_filter, sine, features).T * window
            behind = _computed(self.implicit_filter_rev, sine, features).T * window
        return ahead, behind

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> HyenaFilter:
        def exact(tensor: Tensor) -> Tensor:
            moved = fn(tensor)
            return moved if torch.finfo(moved.dtype).bits >= 32 else tensor.to(moved.device)

        super()._apply(exact, recurse)
        return self

    def window(self, length: int) -> Tensor:
        """Return exp(-t |delta_c|), (hidden_size, length) float32, t in units of the longest input."""
        time = torch.linspace(0, 1, self.longest, device=self.bias.device)[:length]
        faded = math.log(_FADED)
        rates = torch.linspace(faded / _SLOWEST, faded / _FASTEST, len(self.bias), device=self.bias.device).abs()
        return torch.exp(-rates[:, None] * time)


def _kernel_network(config: MonarchMixerConfig, sine: Sine | None = None) -> nn.ModuleDict:
    """Return the layers of a network by their place in the released sequence; its sines stand at 1, 3 and 5."""
    width = config.hyena_filter_order
    layers: dict[str, nn.Module] = {"0": nn.Linear(config.hyena_emb_dim, width)}
    layers |= {"2": nn.Linear(width, width), "4": nn.Linear(width, width)}
    layers["6"] = nn.Linear(width, config.hidden_size, bias=False)
    return nn.ModuleDict(layers if sine is None else {**layers, "1": sine})


def _computed(network: nn.ModuleDict, sine: nn.Module, features: Tensor) -> Tensor:
    for place in ("0", "2", "4"):
        features = sine(network[place](features))  # (length, hyena_filter_order)
    values: Tensor = network["6"](features)  # (length, hidden_size)
    return values
