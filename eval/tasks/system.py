"""A system: what tasks are run with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from retrieval.encoders import Encoder
    from retrieval.rerankers.base import Reranker

LongPolicy = Literal["chunk", "truncate"]


FIRST_STAGE = "first stage"
"""The mode of a system that leaves the candidates of reranking tasks in the order that they came in."""


@dataclass(frozen=True)
class System:
    """What is measured: an encoder, a way to search, a reranker, or all of them together.

    Attributes:
        name: as reports show it.
        encoder: what tasks over vectors need, and dense search; None for a lexical system.
        options: passed on to the searches of a collection (mode=, stages=, rerankers=, fusion=, bm25=). By default a
            system with an encoder searches its vectors, one without by BM25.
        long: what a collection does with texts longer than the encoder reads.
        reranker: what reranking tasks score with; None scores with the encoder's similarities, or by BM25.
    """

    name: str
    encoder: Encoder | None = field(default=None, repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    long: LongPolicy = "truncate"
    reranker: Reranker | None = field(default=None, repr=False)

    @property
    def search_options(self) -> dict[str, Any]:
        """What is passed on to a search, the default included."""
        return dict(self.options) or {"mode": "bm25" if self.encoder is None else "dense"}
