"""The ALiBi encoder once more, in numpy and float64, from published parameter names and the papers' equations."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

SMALL = {
    "vocab_size": 133,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "intermediate_size": 40,
}
"""Six heads: no power of two, so that the slopes of both halves of the rule occur."""


def parameter_shapes(family: str, settings: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Return what an encoder's checkpoint of a family holds, as the published ones list it."""
    vocabulary, width, inner = settings["vocab_size"], settings["hidden_size"], settings["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (vocabulary, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
        "pooler.dense.weight": (width, width),
        "pooler.dense.bias": (width,),
    }
    norms = ["attention.output.LayerNorm"]
    linear = {f"attention.{name}": (width, width) for name in ("self.query", "self.key", "self.value", "output.dense")}
    if family == "jina-bert-v2":
        norms += ["mlp.layernorm"]
        gated, linear["mlp.wo"] = "mlp.gated_layers.weight", (width, inner)
    else:
        norms += ["attention.self.layer_norm_q", "attention.self.layer_norm_k", "layer_norm_1", "layer_norm_2"]
        gated, linear["mlp.down_layer"] = "mlp.up_gated_layer.weight", (width, inner)
    for number in range(settings["num_hidden_layers"]):
        layer = f"encoder.layer.{number}."
        shapes[layer + gated] = (2 * inner, width)
        for name, shape in linear.items():
            shapes[f"{layer}{name}.weight"], shapes[f"{layer}{name}.bias"] = shape, (shape[0],)
        for name in norms:
            shapes[f"{layer}{name}.weight"] = shapes[f"{layer}{name}.bias"] = (width,)
    return shapes


def random_parameters(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, np.ndarray]:
    """Return parameters none of which is zero or one, float32."""
    random = np.random.default_rng(seed)
    return {name: random.normal(0.0, 0.7, shape).astype(np.float32) for name, shape in shapes.items()}


def states(
    parameters: Mapping[str, np.ndarray],
    ids: np.ndarray,
    *,
    n_heads: int,
    family: str,
    feed_forward_type: str = "geglu",
) -> np.ndarray:
    """Return the last states of one text without padding, (length, hidden_size) float64."""
    weights = {name: value.astype(np.float64) for name, value in parameters.items()}

    def linear(name: str, x: np.ndarray) -> np.ndarray:
        return x @ weights[f"{name}.weight"].T + weights.get(f"{name}.bias", 0.0)

    def norm(name: str, x: np.ndarray) -> np.ndarray:
        centred = x - x.mean(axis=-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def activated(x: np.ndarray) -> np.ndarray:
        if feed_forward_type == "reglu":
            return np.maximum(x, 0.0)
        return x * 0.5 * (1.0 + np.vectorize(math.erf)(x / math.sqrt(2.0)))

    words = weights["embeddings.word_embeddings.weight"][ids]
    hidden = norm("embeddings.LayerNorm", words + weights["embeddings.token_type_embeddings.weight"][0])
    n_layers = 1 + max(int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer."))
    for number in range(n_layers):
        layer = f"encoder.layer.{number}."
        query, key = linear(f"{layer}attention.self.query", hidden), linear(f"{layer}attention.self.key", hidden)
        if family != "jina-bert-v2":
            query = norm(f"{layer}attention.self.layer_norm_q", query)
            key = norm(f"{layer}attention.self.layer_norm_k", key)
        found = attended(query, key, linear(f"{layer}attention.self.value", hidden), n_heads)
        after = norm(f"{layer}attention.output.LayerNorm", linear(f"{layer}attention.output.dense", found) + hidden)
        if family == "jina-bert-v2":
            gate, up = np.split(after @ weights[f"{layer}mlp.gated_layers.weight"].T, 2, axis=-1)
            hidden = norm(f"{layer}mlp.layernorm", linear(f"{layer}mlp.wo", activated(gate) * up) + after)
        else:
            after = norm(f"{layer}layer_norm_1", hidden + after)
            up, gate = np.split(after @ weights[f"{layer}mlp.up_gated_layer.weight"].T, 2, axis=-1)
            hidden = norm(f"{layer}layer_norm_2", after + linear(f"{layer}mlp.down_layer", up * activated(gate)))
    return hidden


def attended(query: np.ndarray, key: np.ndarray, value: np.ndarray, n_heads: int) -> np.ndarray:
    """Return what all heads attend to, one query and one head at a time, (length, hidden_size)."""
    length, width = query.shape
    size = width // n_heads
    found = np.zeros_like(value)
    for head, slope in enumerate(published_slopes(n_heads)):
        part = slice(head * size, (head + 1) * size)
        for i in range(length):
            logits = np.array(
                [query[i, part] @ key[j, part] / math.sqrt(size) - slope * abs(i - j) for j in range(length)]
            )
            probabilities = np.exp(logits - logits.max())
            found[i, part] = probabilities / probabilities.sum() @ value[:, part]
    return found


def published_slopes(n_heads: int) -> list[float]:
    """Return the slopes by the recursion that the published code spells out, as its unit tests state them."""
    if math.log2(n_heads).is_integer():
        start = 2 ** (-(2 ** -(math.log2(n_heads) - 3)))
        return [start * start**i for i in range(n_heads)]
    power = 2 ** math.floor(math.log2(n_heads))
    return published_slopes(power) + published_slopes(2 * power)[0::2][: n_heads - power]
