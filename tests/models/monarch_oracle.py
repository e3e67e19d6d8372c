"""The Monarch Mixer encoder once more, in numpy and float64, from released parameter names, convolving directly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

SMALL: dict[str, Any] = {
    "vocab_size": 133,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 40,
    "long_conv_l_max": 40,
    "hyena_filter_order": 8,
}
NETWORK = ("implicit_filter", "implicit_filter_rev")


def parameter_shapes(settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return what an encoder's checkpoint holds, by the names of the released code; its repeated names left out."""
    vocabulary, width, inner = settings["vocab_size"], settings["hidden_size"], settings["intermediate_size"]
    order, longest = settings["hyena_filter_order"], settings["long_conv_l_max"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (vocabulary, width),
        "embeddings.position_embeddings.weight": (settings["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
        "pooler.dense.weight": (width, width),
        "pooler.dense.bias": (width,),
    }
    for number in range(settings["num_hidden_layers"]):
        layer = f"encoder.layer.{number}."
        shapes |= {
            f"{layer}attention.in_linear.weight": (3 * width, width),
            f"{layer}attention.in_linear.bias": (3 * width,),
            f"{layer}attention.out_linear.weight": (width, width),
            f"{layer}attention.out_linear.bias": (width,),
            f"{layer}attention.short_filter.weight": (3 * width, 1, 3),
            f"{layer}attention.short_filter.bias": (3 * width,),
            f"{layer}mlp.gated_layers.weight": (4, 2 * inner // 4, width // 4),
            f"{layer}mlp.wo.weight": (4, width // 4, inner // 4),
            f"{layer}mlp.wo.bias": (width,),
            f"{layer}mlp.layernorm.weight": (width,),
            f"{layer}mlp.layernorm.bias": (width,),
        }
        for filter_name in ("filter_fn", "filter_fn2"):
            prefix = f"{layer}attention.{filter_name}."
            shapes |= {f"{prefix}bias": (width,), f"{prefix}pos_emb.z": (1, longest, 5)}
            shapes[f"{prefix}implicit_filter.1.freq"] = (1, order)
            for network in NETWORK:
                for place, size in (("0", 5), ("2", order), ("4", order)):
                    shapes[f"{prefix}{network}.{place}.weight"] = (order, size)
                    shapes[f"{prefix}{network}.{place}.bias"] = (order,)
                shapes[f"{prefix}{network}.6.weight"] = (width, order)
    return shapes


def random_parameters(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Return parameters none of which is zero or one, float32."""
    random = np.random.default_rng(seed)
    return {name: random.normal(0.0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def states(parameters: Mapping[str, np.ndarray], ids: np.ndarray, longest: int) -> np.ndarray:
    """Return the last states of one text without padding, (length, hidden_size) float64."""
    weights = {name: value.astype(np.float64) for name, value in parameters.items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def blocks(name: str, x: np.ndarray) -> np.ndarray:
        parts = np.split(x, 4, axis=-1)
        found = [part @ block.T for part, block in zip(parts, weights[f"{name}.weight"], strict=True)]
        return np.concatenate(found, axis=-1) + weights.get(f"{name}.bias", 0.0)

    def kernel(prefix: str, network: str, length: int) -> np.ndarray:
        found = weights[f"{prefix}pos_emb.z"][0, :length]
        for place in ("0", "2", "4"):
            found = np.sin(weights[f"{prefix}implicit_filter.1.freq"] * linear(f"{prefix}{network}.{place}", found))
        found = found @ weights[f"{prefix}{network}.6.weight"].T  # (length, width)
        width = found.shape[1]
        rates = np.abs(np.linspace(math.log(0.01) / 1.5, math.log(0.01) / 0.3, width))
        return found * np.exp(-np.linspace(0, 1, longest)[:length, None] * rates)

    def convolved(prefix: str, x: np.ndarray) -> np.ndarray:
        ahead, behind = (kernel(prefix, network, len(x)) for network in NETWORK)
        return direct_convolution(x.T, ahead.T, behind.T).T + x * weights[f"{prefix}bias"]

    def short(name: str, x: np.ndarray) -> np.ndarray:
        taps = weights[f"{name}.weight"][:, 0]  # (channels, 3)
        before = np.concatenate([np.zeros((2, x.shape[1])), x])
        return sum(before[lag : lag + len(x)] * taps[:, lag] for lag in range(3)) + weights[f"{name}.bias"]

    def gelu(x: np.ndarray) -> np.ndarray:
        return x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))

    words = weights["embeddings.word_embeddings.weight"][ids]
    positions = weights["embeddings.position_embeddings.weight"][: len(ids)]
    hidden = norm("embeddings.LayerNorm", words + positions + weights["embeddings.token_type_embeddings.weight"][0])
    for number in range(1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))):
        layer = f"encoder.layer.{number}."
        mixed = short(f"{layer}attention.short_filter", linear(f"{layer}attention.in_linear", hidden))
        first, second, value = np.split(mixed, 3, axis=-1)
        found = convolved(f"{layer}attention.filter_fn.", value * first) * second
        found = linear(f"{layer}attention.out_linear", found + convolved(f"{layer}attention.filter_fn2.", hidden))
        gate, up = np.split(blocks(f"{layer}mlp.gated_layers", found), 2, axis=-1)
        hidden = norm(f"{layer}mlp.layernorm", blocks(f"{layer}mlp.wo", gelu(gate) * up) + found)
    return hidden


def direct_convolution(x: np.ndarray, forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """Return the two-sided convolution by its definition, one pair of positions at a time, (channels, length)."""
    length = x.shape[-1]
    found = np.zeros_like(x)
    for t in range(length):
        for s in range(length):
            found[:, t] += (forward[:, t - s] if t >= s else backward[:, s - t - 1]) * x[:, s]
    return found
