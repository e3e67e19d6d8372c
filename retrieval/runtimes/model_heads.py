"""The head of a loaded sentence-transformers model, for runtimes that run its network alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from retrieval.errors import EncoderError
from retrieval.runtimes.heads import ACTIVATIONS, POOLINGS, DenseLayer, SentenceHead, Step, normalised


def head_of(model: Any, *, prompted: bool) -> SentenceHead:
    """Return the head of a `SentenceTransformer`.

    Args:
        model: any.
        prompted: whether texts get a prompt; a pooling that leaves prompts out is then not computed here.

    Raises:
        EncoderError: its modules are more than a transformer, a pooling, dense layers and normalisation.
    """
    names = [type(module).__name__ for module in model]
    if names[:2] != ["Transformer", "Pooling"]:
        raise EncoderError(
            f"its modules are {', '.join(names)}; other runtimes than PyTorch need a Transformer and a Pooling"
        )
    _, pooling, *behind = model
    if pooling.pooling_mode not in POOLINGS:
        raise EncoderError(f"its pooling is {pooling.pooling_mode!r}; only PyTorch runs more than one at once")
    if prompted and not pooling.include_prompt:
        raise EncoderError("its pooling leaves the prompt out, which only PyTorch does")
    return SentenceHead(pooling.pooling_mode, [_step(module) for module in behind])


def _step(module: Any) -> Step:
    kind = type(module).__name__
    places = {getattr(module, name, "sentence_embedding") for name in ("module_input_name", "module_output_name")}
    if places == {"sentence_embedding"}:
        if kind == "Normalize":
            return normalised
        if kind == "Dense" and not module.use_residual:
            activation = type(module.activation_function).__name__
            if activation in ACTIVATIONS:
                bias = module.linear.bias
                return DenseLayer(_array(module.linear.weight), None if bias is None else _array(bias), activation)
    raise EncoderError(f"its module {module} is run by PyTorch only")


def _array(parameter: Any) -> np.ndarray:
    array: np.ndarray = parameter.detach().float().cpu().numpy()
    return array
