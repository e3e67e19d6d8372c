"""ModernBERT in transformers: the facts of its layout that published checkpoints rely on, so that a change is seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import ModernBertConfig, ModernBertModel

WIDTH, INNER, VOCABULARY = 32, 48, 60
SPECIAL = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}


def network(layers: int, *, every: int = 3, **changes: object) -> ModernBertModel:
    """Return a tiny random network; layer i is global where i is a multiple of `every`."""
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=layers,
        num_attention_heads=4,
        global_attn_every_n_layers=every,
        initializer_range=0.3,
        **SPECIAL,
        **changes,
    )
    return ModernBertModel(config).eval()


def reach(model: ModernBertModel, length: int, layers: list[int]) -> int:
    """Return the last position that a change of token 0 reaches when the text passes the given layers alone."""
    model.layers = torch.nn.ModuleList(model.layers[number] for number in layers)
    ids = torch.randint(3, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(1))
    other = ids.clone()
    other[0, 0] = 3 + (ids[0, 0] - 2) % (VOCABULARY - 3)
    with torch.no_grad():
        difference = model(ids).last_hidden_state - model(other).last_hidden_state
    return int(difference[0].abs().amax(dim=1).nonzero().max())


def test_sizes_of_the_published_models():
    config = ModernBertConfig()
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (22, 768, 12)
    assert (config.intermediate_size, config.vocab_size, config.max_position_embeddings) == (1152, 50368, 8192)
    with torch.device("meta"):
        model = ModernBertModel(config)
    layer = 4 * 768**2 + 3 * 1152 * 768 + 2 * 768
    assert sum(parameter.numel() for parameter in model.parameters()) == 50368 * 768 + 22 * layer - 768 + 2 * 768


def test_every_third_layer_is_global_and_the_wavelengths_differ():
    config = ModernBertConfig()
    kinds = {True: "full_attention", False: "sliding_attention"}
    assert list(config.layer_types) == [kinds[number % 3 == 0] for number in range(22)]
    assert config.rope_parameters["full_attention"]["rope_theta"] == 160_000
    assert config.rope_parameters["sliding_attention"]["rope_theta"] == 10_000


def test_names_and_the_absence_of_biases():
    shapes = {name: tuple(parameter.shape) for name, parameter in network(2).named_parameters()}
    expected = {"embeddings.tok_embeddings.weight": (VOCABULARY, WIDTH), "embeddings.norm.weight": (WIDTH,)}
    for number in range(2):
        layer = f"layers.{number}."
        expected |= {
            f"{layer}attn.Wqkv.weight": (3 * WIDTH, WIDTH),
            f"{layer}attn.Wo.weight": (WIDTH, WIDTH),
            f"{layer}mlp_norm.weight": (WIDTH,),
            f"{layer}mlp.Wi.weight": (2 * INNER, WIDTH),
            f"{layer}mlp.Wo.weight": (WIDTH, INNER),
        }
    expected |= {"layers.1.attn_norm.weight": (WIDTH,), "final_norm.weight": (WIDTH,)}
    assert shapes == expected  # layer 0 has no attn_norm: the embeddings are normalised


def test_the_first_half_of_the_gated_projection_is_activated():
    model = network(1)
    feed_forward = model.layers[0].mlp
    hidden = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        both = hidden @ feed_forward.Wi.weight.T
        gelu = torch.nn.functional.gelu(both[:, :INNER])
        expected = (gelu * both[:, INNER:]) @ feed_forward.Wo.weight.T
        torch.testing.assert_close(feed_forward(hidden), expected)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_local_layer_reads_sixty_four_tokens_to_each_side(attention):
    model = network(2, attn_implementation=attention)
    assert reach(model, 520, [1]) == 64  # token 0 never reaches token 500
    assert reach(network(2, attn_implementation=attention), 520, [0]) == 519


def test_local_layers_add_up():
    for layers in (2, 3):
        assert reach(network(9, every=9), 260, list(range(1, layers + 1))) == 64 * layers


def test_short_texts_are_read_globally_by_every_layer():
    """Up to 65 tokens every pair is within 64, so that local and global layers of the same weights are one."""
    for length, same in ((65, True), (80, False)):
        ids = torch.randint(3, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(1))
        theta = {"rope_type": "default", "rope_theta": 10_000.0}
        settings = {"rope_parameters": {"full_attention": theta, "sliding_attention": theta}}
        found = [network(3, every=every, **settings)(ids).last_hidden_state for every in (1, 3)]
        assert torch.allclose(*found, atol=1e-5) == same


def test_the_whole_network_in_numpy():
    """One global and one local layer, by the equations."""
    model = network(2, local_attention=8)
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    ids = np.random.default_rng(3).integers(3, VOCABULARY, 20)

    def norm(x: np.ndarray) -> np.ndarray:  # scales are one in a new network
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5)

    def turned(x: np.ndarray, theta: float) -> np.ndarray:
        half = x.shape[-1] // 2
        angles = np.arange(len(x))[:, None] * theta ** (-np.arange(half) / half)
        first, second = x[:, :half], x[:, half:]
        cos, sin = np.cos(angles), np.sin(angles)
        return np.concatenate([first * cos - second * sin, second * cos + first * sin], axis=1)

    def gelu(x: np.ndarray) -> np.ndarray:
        return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()

    distances = np.abs(np.arange(20)[:, None] - np.arange(20))
    hidden = norm(weights["embeddings.tok_embeddings.weight"][ids])
    for number, (theta, allowed) in enumerate([(160_000.0, distances >= 0), (10_000.0, distances <= 4)]):
        layer = f"layers.{number}."
        projected = (hidden if number == 0 else norm(hidden)) @ weights[f"{layer}attn.Wqkv.weight"].T
        query, key, value = np.split(projected, 3, axis=1)
        parts = []
        for head in range(4):
            own = slice(head * 8, head * 8 + 8)
            logits = turned(query[:, own], theta) @ turned(key[:, own], theta).T / np.sqrt(8)
            odds = np.where(allowed, np.exp(logits - logits.max(axis=1, keepdims=True)), 0)
            parts.append(odds / odds.sum(axis=1, keepdims=True) @ value[:, own])
        hidden = hidden + np.concatenate(parts, axis=1) @ weights[f"{layer}attn.Wo.weight"].T
        both = norm(hidden) @ weights[f"{layer}mlp.Wi.weight"].T
        hidden = hidden + (gelu(both[:, :INNER]) * both[:, INNER:]) @ weights[f"{layer}mlp.Wo.weight"].T
    with torch.no_grad():
        found = model(torch.from_numpy(ids)[None]).last_hidden_state[0].numpy()
    np.testing.assert_allclose(found, norm(hidden), atol=1e-4)
