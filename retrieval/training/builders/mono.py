"""monoBERT: an encoder with a head of its own, or a pointwise reranker that learns on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from retrieval.encoders.embedded import EMBEDDED
from retrieval.rerankers.untrained import load_untrained

if TYPE_CHECKING:
    from retrieval.models.rankers.mono import MonoNetwork


def build_model(
    *,
    backbone: str = EMBEDDED,
    labels: Literal[1, 2] | None = None,
    query_tokens: int | None = None,
    max_tokens: int | None = None,
) -> MonoNetwork:
    """Return a pointwise ranking network to train.

    Args:
        backbone: "embedded" for the packaged MiniLM; an encoder by path or name, whose head starts at random; or a
            `CrossEncoder`, which keeps its head.
        labels: logits: 1, or 2 as published, of which only the difference counts; left out, a `CrossEncoder` keeps
            what it has, and a new head has 1, the form that `CrossEncoder.rank` takes.
        query_tokens: of a query that are read, with the special tokens around it; left out, 64 as published, at most
            half of `max_tokens`.
        max_tokens: of an input, special tokens included; left out, 512 as published, or what the backbone reads where
            that is less.

    Raises:
        RerankerError: there is no such model, its head has other logits, or the budgets do not fit it.
    """
    from retrieval.models.rankers.mono import MonoNetwork

    model, tokenizer = load_untrained(backbone, labels=labels)
    return MonoNetwork(model, tokenizer, query_tokens=query_tokens, max_tokens=max_tokens)
