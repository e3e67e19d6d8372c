"""duoBERT: an encoder with segments, or a pointwise reranker, that learns which of two passages is more relevant."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from retrieval.encoders.embedded import EMBEDDED
from retrieval.rerankers.aggregation import Aggregation, Method
from retrieval.rerankers.duo import DuoBudget
from retrieval.rerankers.duo_folder import grow_segments
from retrieval.rerankers.untrained import load_untrained

if TYPE_CHECKING:
    from retrieval.models.rankers.duo import DuoNetwork


def build_model(
    *,
    backbone: str = EMBEDDED,
    labels: Literal[1, 2] | None = None,
    query_tokens: int = DuoBudget.query,
    document_tokens: int = DuoBudget.document,
    aggregation: Method = "sum",
    m: int | None = None,
) -> DuoNetwork:
    """Return a pairwise ranking network to train; the third row of its segment table starts as the second.

    Args:
        backbone: "embedded" for the packaged MiniLM; an encoder by path or name, whose head starts at random; or a
            pointwise or pairwise reranker, which keeps its head.
        labels: logits: 1, or 2 of which only the difference counts; left out, a reranker keeps what it has, and a new
            head has 2, as published.
        query_tokens: pieces of a query that are read, without special tokens.
        document_tokens: pieces of each document that are read, without special tokens.
        aggregation: by which the trained folder makes scores of comparisons, see `Aggregation`.
        m: of the aggregation "sample".

    Raises:
        RerankerError: there is no such model, it has no segments, its head has other logits, the budgets do not fit it,
            or there is no such aggregation.
    """
    from retrieval.models.rankers.duo import DuoNetwork

    how = Aggregation(aggregation, m)
    budget = DuoBudget(query_tokens, document_tokens)
    model, tokenizer = load_untrained(backbone, labels=labels, new_labels=2)
    grow_segments(model)
    return DuoNetwork(model, tokenizer, budget=budget, aggregation=how)
