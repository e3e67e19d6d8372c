"""Off-ramps for a trained pointwise reranker, which itself stays as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retrieval.errors import RecipeError

if TYPE_CHECKING:
    from retrieval.models.rankers.early_exit import EarlyExitNetwork


def build_model(*, backbone: str = "") -> EarlyExitNetwork:
    """Return a pointwise reranker with new off-ramps, which start from its head.

    Args:
        backbone: folder of the trained reranker; there is no other to fall back on.

    Raises:
        RecipeError: no folder is given.
        RerankerError: there is no such model, or its layers are not known to be BERT's.
    """
    from retrieval.models.rankers.early_exit import EarlyExitNetwork
    from retrieval.models.rankers.mono import MonoNetwork

    if not backbone:
        raise RecipeError("off-ramps are for a trained reranker: set backbone in model_settings to its folder")
    plain = MonoNetwork.load(backbone)
    return EarlyExitNetwork(plain.model, plain.tokenizer, query_tokens=plain.query_tokens, max_tokens=plain.max_tokens)
