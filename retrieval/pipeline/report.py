"""What each stage of a search took: documents, model calls, time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from indexes.hits import Hits


class StageReport(NamedTuple):
    """A stage, as it ran for one query.

    Attributes:
        name: the retriever or reranker; "fusion" where lists were fused.
        documents: how many it returned (retrievers, fusion) or scored (rerankers).
        calls: inputs that went through a reranker's model, by its own count (`score_with_calls`, `calls_for`);
            0 for what calls none.
        seconds: wall time of the stage for all queries that were searched together.
        queries: how many those were.
        states: of the documents, those whose stored states were read instead of their texts.
    """

    name: str
    documents: int
    calls: int
    seconds: float
    queries: int
    states: int = 0

    def as_dict(self) -> dict[str, Any]:
        """Return everything for JSON."""
        return self._asdict()

    def __str__(self) -> str:
        calls = f", {self.calls:,} model calls" if self.calls else ""
        together = f" for {self.queries:,} queries together" if self.queries > 1 else ""
        states = ", by stored states" if self.states else ""
        return f"{self.name}: {self.documents:,} documents{states}{calls}, {self.seconds * 1000:,.1f} ms{together}"


class StageClock:
    """Takes the time of the stages that retrieve, one after the other.

    Args:
        n_queries: how many are searched together.
    """

    def __init__(self, n_queries: int) -> None:
        self._n_queries = n_queries
        self._stages: list[tuple[str, Sequence[Hits], float]] = []
        self._last = time.perf_counter()

    def stage(self, name: str, found: Sequence[Hits]) -> None:
        """Note the stage that has just ended, and what it found for each query."""
        now = time.perf_counter()
        self._stages.append((name, found, now - self._last))
        self._last = now

    def reports(self, number: int) -> list[StageReport]:
        """Return what the stages took, as one of the queries shows it."""
        return [
            StageReport(name, len(found[number].rows), 0, seconds, self._n_queries)
            for name, found, seconds in self._stages
        ]
