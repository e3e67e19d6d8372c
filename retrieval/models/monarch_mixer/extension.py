"""A Monarch Mixer encoder for longer texts than it was trained on, to be trained further from there.

The published 32k model started from the 8k one in this way; a cold start reached 4.8 % instead of 33.9 % accuracy of
masked language modelling after 6,000 steps (arXiv 2402.07440).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from retrieval.errors import EncoderError


def extended(model: Any, length: int) -> Any:
    """Return a copy of a model that reads texts of another length.

    The table of positions and the filters' positional features are repeated until they are long enough, as the
    released code does (github.com/HazyResearch/m2, `expand_8k_model_to_32k`). Time is counted in units of the new
    length, so that the windows of the filters fade more slowly, token by token: what the copy computes for a short text
    differs from the original, and training has to go on.

    Args:
        model: an encoder, or one with a head.
        length: tokens, at least as many as the model reads.

    Raises:
        EncoderError: the model reads longer texts already.
    """
    present = max(model.config.max_position_embeddings, model.config.long_conv_l_max)
    if length < present:
        raise EncoderError(f"the model reads {present} tokens; it cannot be extended to {length}")
    config = copy.deepcopy(model.config)
    config.max_position_embeddings = config.long_conv_l_max = length
    longer = type(model)(config)
    rows = {"position_embeddings.weight": 0, "pos_emb.z": 1}
    state = model.state_dict()
    for name, value in state.items():
        for ending, dimension in rows.items():
            if name.endswith(ending):
                state[name] = _repeated(value, dimension, length)
    longer.load_state_dict(state)
    return longer.to(model.dtype).to(model.device).train(model.training)


def _repeated(table: Tensor, dimension: int, length: int) -> Tensor:
    times = -(-length // table.shape[dimension])
    return torch.cat([table] * times, dim=dimension).narrow(dimension, 0, length)
