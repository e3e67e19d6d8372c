"""Poolings by name: which modules follow a transformer."""

from __future__ import annotations

from typing import Any

USUAL = ("cls", "mean", "max", "lasttoken", "mean_sqrt_len_tokens", "weightedmean")
"""Names of sentence-transformers' pooling."""

NAMES = (
    *USUAL,
    "convolution",
    "convolution_max",
    "convolution_stack",
    "convolution_stack_max",
    "max_cls",
    "mha",
    "max_seq_mha",
    "mean_seq_mha",
    "sum_seq_mha",
    "scalar_mix",
    "scalar_mix_cls",
    "weighted_cls",
)
"""All names of poolings; `pooling_modules` says what they are."""

_STACKED = 2
_LAST_LAYERS = 3


def pooling_modules(name: str, transformer: Any) -> list[Any]:
    """Return the modules that make a sentence encoder of a transformer.

    "convolution" is kernels of 1, 3 and 5 side by side, a third of the hidden size each; "convolution_stack" two
    convolutions of kernel 3 and the hidden size, one after the other; the mean over the tokens follows, or with "_max"
    the largest value. "max_cls", "mha", "max_seq_mha", "mean_seq_mha" and "sum_seq_mha" are MaxPoolBERT's variants over
    the last three layers, all layers where there are fewer. "scalar_mix" is the learnt mixture of all layers with the
    mean over the tokens, "scalar_mix_cls" with [CLS]. "weighted_cls" is the learnt sum of every layer's [CLS]. New
    weights come from torch's generator.

    Args:
        name: one of `NAMES`.
        transformer: a sentence-transformers `Transformer`.

    Raises:
        ValueError: there is no such name.
        EncoderError: the transformer's size does not fit the pooling.
    """
    from sentence_transformers.sentence_transformer.modules import Pooling

    from retrieval.models.pooling.convolution import Convolution
    from retrieval.models.pooling.max_pool_bert import VARIANTS, MaxPoolBert
    from retrieval.models.pooling.scalar_mix import ScalarMix
    from retrieval.models.pooling.weighted_cls import WeightedCls

    if name not in NAMES:
        raise ValueError(f"unknown pooling {name!r}: one of {', '.join(NAMES)}")
    width = int(transformer.get_embedding_dimension())
    if name in USUAL:
        return [Pooling(width, name)]
    if name.startswith("convolution"):
        if "stack" in name:
            convolution = Convolution(width, width, [3] * _STACKED, stacked=True)
        else:
            convolution = Convolution(width, max(1, width // 3))
        return [convolution, Pooling(convolution.get_embedding_dimension(), "max" if name.endswith("max") else "mean")]
    n_layers = int(transformer.model.config.num_hidden_layers)
    if name in VARIANTS:
        return [MaxPoolBert(width, n_layers, name, min(_LAST_LAYERS, n_layers))]
    if name == "weighted_cls":
        return [WeightedCls(width, n_layers + 1)]
    return [ScalarMix(n_layers + 1), Pooling(width, "cls" if name.endswith("cls") else "mean")]
