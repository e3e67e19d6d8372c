"""What users may give as a reranker or as a part of one: a reranker, or a function from query and texts to scores."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from retrieval.errors import RerankerError
from retrieval.rerankers.base import Reranker
from retrieval.rerankers.function import FunctionReranker
from retrieval.rerankers.loading import is_cross_encoder


def as_reranker(given: Any, what: str, name: str | None = None) -> Reranker:
    """Return a reranker as it is, and a function as a `FunctionReranker`.

    Args:
        given: either of both.
        what: is looked for, for the message: "reranker 'mono'".
        name: of a function; by default the one that it was defined with.

    Raises:
        RerankerError: it is neither.
    """
    is_class = isinstance(given, type)  # which has a reranker's members as well, without anything behind them
    if isinstance(given, Reranker) and not is_class:
        return given
    is_model = is_cross_encoder(given)  # it can be called, but not with a query and texts
    if is_class or is_model or not callable(given):
        hint = "; load it once, with load_reranker(…)" if is_model or isinstance(given, (str, PurePath)) else ""
        hint = "; that is a class, give an object of it" if is_class else hint
        raise RerankerError(
            f"{what} is neither a reranker nor a function from a query and texts to scores: {given!r:.80}{hint}"
        )
    return FunctionReranker(given, name=name or str(getattr(given, "__name__", "function")))
