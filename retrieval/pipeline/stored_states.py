"""A stage that reads stored states instead of texts: one query encoding, and what the network does with both sides.

No passage goes through the network. A document's score is what the network gives its text, but for the rounding of what
is stored: with ColBERT at most the sum over the query's tokens of their length times the largest distance between a
state and what is stored of it (`indexes.token_vectors.largest_error`), and for rounding in batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from indexes.hits import Hits
from retrieval.batching import plan_windows
from retrieval.errors import RerankerError

if TYPE_CHECKING:
    from retrieval.collection.snapshot import Snapshot
    from retrieval.collection.token_slot import TokenSlot
    from retrieval.rerankers.passage_states import QueryStates, StateEncoder

_BLOCK_NUMBERS = 16 << 20
"""Numbers of states that are read together: this bounds memory, however many candidates there are."""

_SHOWN = 80


class StateReranker:
    """Scores candidates by the states that the collection stores of them.

    Args:
        name: of the stage, and of the states.
        slot: the network.
    """

    def __init__(self, name: str, slot: TokenSlot) -> None:
        self.name = name
        self._slot = slot

    def identity(self) -> dict[str, Any]:
        """Return what decides the scores, the form in which states are stored included."""
        recorded = self._slot.recorded
        return {} if recorded is None else {**recorded.identity, "storage": recorded.storage}

    def calls(self, n: int) -> int:  # noqa: ARG002  # what the rerankers that read texts need
        """Return 1: the query is encoded once, whatever the number of candidates, and no passage is."""
        return 1

    def score_stored(self, snapshot: Snapshot, queries: Sequence[str], heads: Sequence[Hits]) -> list[np.ndarray]:
        """Return the scores of each query's documents, (n_i,) float64; equal texts of a query tie exactly.

        Args:
            snapshot: where the states are.
            queries: their texts.
            heads: the candidates of each.

        Raises:
            RerankerError: the network cannot be loaded, or a score is not finite; the message names query and document.
            CorruptIndexError: states are damaged.
        """
        encoded = self._slot.encode_queries(list(queries), snapshot)
        encoder = self._slot.get()
        scores = []
        for query, states, head in zip(queries, encoded, heads, strict=True):
            found = self._scores(snapshot, encoder, states, head)
            finite = np.isfinite(found)
            if not finite.all():
                at = int(np.flatnonzero(~finite)[0])
                (document_id,) = snapshot.ids(head.segments[at : at + 1], head.rows[at : at + 1])
                raise RerankerError(
                    f"reranker {self.name!r} returned {found[at]} for the stored states of document {document_id!r} "
                    f"and query {query[:_SHOWN]!r}"
                )
            scores.append(found)
        return scores

    def _scores(self, snapshot: Snapshot, encoder: StateEncoder, query: QueryStates, head: Hits) -> np.ndarray:
        from retrieval.collection.token_store import gather_states
        from retrieval.encoding import distinct_hashes

        if not len(head.rows):
            return np.empty(0, np.float64)
        stores = [segment.tokens[self.name] for segment in snapshot.segments]
        hashes = np.empty((len(head.rows), 16), np.uint8)
        lengths = np.empty(len(head.rows), np.int64)
        for number in np.unique(head.segments).tolist():
            mine = head.segments == number
            hashes[mine] = stores[number].hashes.of(head.rows[mine])
            lengths[mine] = stores[number].states.lengths(head.rows[mine])
        once, of_once = distinct_hashes(hashes)
        scores = np.empty(len(once), np.float64)
        for block in plan_windows(np.maximum(lengths[once], 1) * encoder.width, _BLOCK_NUMBERS):
            chosen = once[block]
            states = gather_states(stores, head.segments[chosen], head.rows[chosen])
            scores[block] = encoder.score(query, states)
        return scores[of_once]
