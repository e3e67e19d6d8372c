"""Who a sentence-transformers model is: everything that decides its vectors, read from the loaded model.

Read from the model and not from its files, so that the same model has the same identity under another path, saved
again by another version, or handed over from memory. Weights and tokenizer enter as digests, the rest as values that
people can read. Only settings whose names have been stable over versions of the libraries take part.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from retrieval.encoders.model_inputs import is_plain_transformer
from retrieval.encoders.tokenization import PROBES, fast_tokenizer
from retrieval.encoders.weights import tensors_digest

BACKBONE_SETTINGS = (
    "hidden_act",
    "hidden_activation",
    "activation",
    "activation_function",
    "num_attention_heads",
    "num_heads",
    "layer_norm_eps",
    "layer_norm_epsilon",
    "rms_norm_eps",
    "norm_eps",
    "family",
    "feed_forward_type",
    "hyena_w_mod",
    "mask_padding",
    "local_attention",
    "global_attn_every_n_layers",
    "position_buckets",
    "max_relative_positions",
    "relative_attention_max_distance",
)
"""What changes a transformer's output while its weights stay the same, in the words of several architectures."""

_MODULE_SETTINGS = {
    "Pooling": ("pooling_mode", "include_prompt"),
    "Dense": ("activation_function", "use_residual"),
    "Normalize": (),
    "LayerNorm": (),
    "Dropout": (),
    "StaticEmbedding": (),
    "SpladePooling": ("pooling_strategy", "activation_function"),
    "Convolution": ("kernel_sizes", "stacked"),
    "MaxPoolBert": ("variant", "last", "heads"),
    "ScalarMix": (),
    "WeightedCls": (),
}
"""What to name of the modules that we know; shapes follow from the weights."""


def weights_digest(model: Any) -> str:
    """Return the digest of a model's tensors, of those that its output depends on."""
    state = model.state_dict()
    return tensors_digest(tensor for name, tensor in state.items() if not _is_unused(name, model))


def _is_unused(name: str, model: Any) -> bool:
    # transformers builds a pooler for many architectures; when the checkpoint has none it is random in each process.
    # Nothing reads it where the module's output are the token embeddings.
    reads_tokens = getattr(model[0], "module_output_name", None) == "token_embeddings"
    return reads_tokens and ".pooler." in name


def tokenizer_digest(model: Any) -> str:
    """Return a digest of what a tokenizer does: its vocabulary, and its tokens of texts where tokenizers differ.

    The tokenizer's file is no measure: libraries write the same tokenizer in other ways from version to version.
    """
    vocabulary: dict[str, int] = getattr(getattr(model[0], "tokenizer", None), "get_vocab", dict)()
    digest = hashlib.sha256(json.dumps(sorted(vocabulary.items())).encode())
    for ids in _probe_ids(model):
        digest.update(json.dumps(ids).encode())
    return digest.hexdigest()


def _probe_ids(model: Any) -> Iterator[list[int] | None]:
    tokenizer = fast_tokenizer(model) if is_plain_transformer(model) else None
    if tokenizer is not None:
        yield from (ids.tolist() for ids in tokenizer.ids(PROBES))  # not cut: the maximum length is named by itself
        return
    for task in ("query", "document"):
        for probe in PROBES:
            ids = model.preprocess([probe], task=task).get("input_ids")
            yield None if ids is None else ids.reshape(-1).tolist()


def describe_modules(modules: Any) -> list[str]:
    """Return the modules in their order, each with the settings that decide its output."""
    return [_describe(module) for module in modules]


def _describe(module: Any) -> str:
    kind = type(module).__name__
    if hasattr(module, "sub_modules"):
        routes = sorted(module.sub_modules.items())
        return f"{kind}({', '.join(f'{name}: {describe_modules(route)}' for name, route in routes)})"
    settings = dict(_backbone(module)) if hasattr(module, "transformer_task") else _settings(kind, module)
    return f"{kind}({', '.join(f'{name}={value}' for name, value in settings.items())})" if settings else kind


def _settings(kind: str, module: Any) -> dict[str, Any]:
    if kind not in _MODULE_SETTINGS:
        config: dict[str, Any] = getattr(module, "get_config_dict", dict)()
        return {name: config[name] for name in sorted(config)}
    values = {name: getattr(module, name) for name in _MODULE_SETTINGS[kind] if hasattr(module, name)}
    return {name: type(value).__name__ if callable(value) else value for name, value in values.items()}


def backbone_settings(config: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a transformer's config says that changes its output while its weights stay the same."""
    yield "type", config.model_type
    for name in BACKBONE_SETTINGS:
        value = getattr(config, name, None)
        if isinstance(value, (str, int, float)):
            yield name, value
    thetas = sorted(_rope_thetas(config))
    if thetas:
        yield "rope_theta", thetas
    for name, usual in (("is_causal", True), ("use_bidirectional_attention", False), ("is_decoder", False)):
        if getattr(config, name, usual) not in (usual, None):
            yield name, not usual


def _backbone(module: Any) -> Iterator[tuple[str, Any]]:
    yield from backbone_settings(module.model.config)
    for name in ("query_length", "document_length", "query_expansion"):
        if getattr(module, name, None):
            yield name, getattr(module, name)


def _rope_thetas(config: Any) -> set[float]:
    """Return the bases of a network's rotary positions, under whichever name its settings have them."""
    thetas = {getattr(config, name, None) for name in ("rope_theta", "global_rope_theta", "local_rope_theta")}
    parameters = getattr(config, "rope_parameters", None) or {}
    for part in (parameters, *parameters.values()):
        thetas.add(part.get("rope_theta") if isinstance(part, dict) else None)
    return {float(theta) for theta in thetas if theta is not None}
