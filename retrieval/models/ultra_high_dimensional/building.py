"""A new ultra-high-dimensional encoder over any transformers backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from retrieval.errors import EncoderError
from retrieval.models.ultra_high_dimensional.module import UltraHighDimensional
from retrieval.models.ultra_high_dimensional.settings import UltraHighDimensionalSettings


def build_encoder(
    backbone: str | Path | Any,
    *,
    max_tokens: int | None = None,
    prompts: Mapping[str, str] | None = None,
    device: str | None = None,
    seed: int = 0,
    **settings: Any,
) -> Any:
    """Return a `sentence_transformers.SparseEncoder` with new buckets behind a backbone.

    Args:
        backbone: the folder or name of a transformers model, or a sentence-transformers `Transformer` module.
        max_tokens: tokens of a text that are read; by default what the backbone reads.
        prompts: put before texts, "query" and "document".
        device: "cpu", "cuda", …; by default a GPU when there is one.
        seed: of the buckets' random weights.
        **settings: of `UltraHighDimensionalSettings`, without `hidden_size`, which the backbone decides.

    Raises:
        EncoderError: settings do not go together, or are unknown.
    """
    from sentence_transformers import SparseEncoder
    from sentence_transformers.base.modules import Transformer

    if isinstance(backbone, (str, Path)):
        # Without a word on it, transformers would ask at the keyboard whether to run code of the folder.
        safe = {"trust_remote_code": False}
        backbone = Transformer(
            str(backbone), max_seq_length=max_tokens, model_kwargs=safe, config_kwargs=safe, processor_kwargs={**safe}
        )
    elif max_tokens is not None:
        backbone.max_seq_length = max_tokens
    hidden_size = backbone.get_embedding_dimension()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = UltraHighDimensional(
            UltraHighDimensionalSettings.from_mapping({"hidden_size": hidden_size, **settings})
        )
    return SparseEncoder(modules=[backbone, module], prompts=dict(prompts or {}), device=device)


def bucket_module(model: Any) -> UltraHighDimensional:
    """Return the ultra-high-dimensional module of a model.

    Raises:
        EncoderError: it has none.
    """
    for module in model.children():
        if isinstance(module, UltraHighDimensional):
            return module
    raise EncoderError(f"{type(model).__name__} has no ultra-high-dimensional module; make one with build_encoder()")


def centre(model: Any, texts: Sequence[str], *, batch_size: int = 32) -> None:
    """Set each bucket's bias to minus its mean output over the tokens of some texts, before training.

    The hidden states of a transformer share a large common component (Ethayarajh 2019, "How contextual are
    contextualized word representations?"), by which a random linear layer lets the same few dimensions win for nearly
    all tokens. Without their mean the winners differ from the start, and few dimensions begin dead.

    Args:
        model: a model with an ultra-high-dimensional module.
        texts: a sample, some hundred suffice.
        batch_size: texts that are encoded together.

    Raises:
        EncoderError: no text has a token that counts.
    """
    module = bucket_module(model)
    sums = [torch.zeros(module.settings.hidden_size, dtype=torch.float64) for _ in module.buckets]
    n_tokens = 0
    with torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            features = model.preprocess(list(texts[start : start + batch_size]))
            features = {
                name: value.to(model.device) if hasattr(value, "to") else value for name, value in features.items()
            }
            features = model[0](features)
            _, counted, _ = module.counted_tokens(features)
            n_tokens += int(counted.sum())
            for total, layer in zip(sums, module.settings.layers, strict=True):
                total.add_(module.hidden_states(features, layer)[counted].double().sum(0).cpu())
    if not n_tokens:
        raise EncoderError(f"none of {len(texts):,} texts has a token that is not special; give texts with words")
    module.set_centres([total / n_tokens for total in sums])
