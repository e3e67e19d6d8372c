"""Learning rates of a Monarch Mixer's parts: filters learn faster than the rest, their positional features slower."""

from __future__ import annotations

from typing import Any

from torch import nn

from retrieval.models.monarch_mixer.implicit_filter import HyenaFilter

FILTER_RATE, FILTER_DECAY = 1e-3, 0.1
FEATURES_RATE = 1e-5


def parameter_groups(model: nn.Module, *, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """Return a model's parameters in groups for a torch optimiser, with the released settings for its filters.

    The networks that compute the kernels get a rate of 1e-3 and a decay of 0.1, the positional features that they read
    1e-5 and no decay (github.com/HazyResearch/m2, bert/yamls); biases and norms of the rest are not decayed.

    Args:
        model: an encoder, or one with a head.
        learning_rate: of everything else.
        weight_decay: of the weights of everything else.
    """
    filters, features = set(), set()
    for module in model.modules():
        if isinstance(module, HyenaFilter):
            features |= set(module.pos_emb.parameters())
            filters |= {*module.implicit_filter.parameters(), *module.implicit_filter_rev.parameters()}
    rest = [parameter for parameter in model.parameters() if parameter not in filters | features]
    groups = [
        ([parameter for parameter in rest if parameter.ndim > 1], learning_rate, weight_decay),
        ([parameter for parameter in rest if parameter.ndim <= 1], learning_rate, 0.0),
        ([parameter for parameter in model.parameters() if parameter in filters], FILTER_RATE, FILTER_DECAY),
        ([parameter for parameter in model.parameters() if parameter in features], FEATURES_RATE, 0.0),
    ]
    return [{"params": params, "lr": rate, "weight_decay": decay} for params, rate, decay in groups if params]
