"""The states of a segment's documents: known ones found again, the others made, all written as a stream.

A document whose text any segment of the collection has keeps its stored states, so that equal texts are encoded once
and tie exactly, and an update encodes only what changed. What is encoded goes through the staging area, so that an
interrupted run goes on where it stopped. A document is encoded from its beginning, title first, as far as the network
reads, as rerankers read documents; longer ones are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from indexes.token_store import TokenStoreWriter
from indexes.token_vectors import TokenVectors
from retrieval.collection.manifest import TokensPart
from retrieval.collection.parts import PartWriter
from retrieval.collection.passage_hashes import write_hashes
from retrieval.collection.reports import ChangeReport
from retrieval.collection.token_slot import TokenSlot
from retrieval.collection.vector_writer import CHARACTERS_PER_TOKEN, GROUP, STAGING
from retrieval.documents import Document
from retrieval.errors import RerankerError
from retrieval.progress import progress
from retrieval.staging import HASH_BYTES
from retrieval.state_encoding import StateLookup, StateStaging, encode_states

if TYPE_CHECKING:
    from retrieval.collection.segment import Segment
    from retrieval.collection.token_store import StateStore

GROUP_BYTES = 64 << 20
"""States of documents that are encoded together take about so much, if a token has four characters."""

_BYTES_PER_NUMBER = 2


class TokenWriter:
    """Writes the states of one network.

    Args:
        directory: the collection; the staging area is a folder in it.
        name: of the network's stage.
        slot: the network, and how its states are stored.
        report: where documents are counted.
        show_progress: show a progress bar on a terminal.

    Raises:
        RerankerError: the network cannot be loaded.
    """

    def __init__(
        self, directory: Path, name: str, slot: TokenSlot, report: ChangeReport, *, show_progress: bool
    ) -> None:
        if slot.recorded is None:
            raise RerankerError(f"the collection has no states of {name!r} to write")
        self._name = name
        self._encoder = slot.get()
        self._recorded = slot.recorded
        self._report = report
        self._show_progress = show_progress
        self._staging = StateStaging(directory / STAGING, self._encoder, slot.recorded.storage)

    def finish(self) -> None:
        """Remove the staged states: they are committed."""
        self._staging.clear()

    def keep(self) -> None:
        """Make what has been encoded durable for the next attempt, after this one has failed."""
        self._staging.flush()

    def of_documents(self, parts: PartWriter, documents: Sequence[Document], known: Sequence[Segment]) -> TokensPart:
        """Write the states of new documents, row by row.

        Args:
            parts: where the part goes.
            documents: in the order of their rows.
            known: segments whose states may serve again.
        """
        n_characters = sum(len(document.text) + len(document.title) for document in documents)
        lookups = [_lookup(segment.tokens[self._name]) for segment in known if self._name in segment.tokens]
        return self._write(parts, (document.full_text for document in documents), lookups, n_characters)

    def of_segment(self, parts: PartWriter, segment: Segment) -> TokensPart:
        """Write the states of a stored segment's documents, by row; those of deleted ones are empty."""
        store = segment.documents
        rows = range(segment.entry.n_documents)
        texts = (store.full_text(row)[0] if segment.is_alive(row) else None for row in rows)
        n_characters = sum(len(store.full_text(row)[0]) for row in segment.alive_rows().tolist())
        return self._write(parts, texts, [], n_characters)

    def _write(
        self, parts: PartWriter, texts: Iterable[str | None], known: Sequence[StateLookup], n_characters: int
    ) -> TokensPart:
        storage, width = self._recorded.storage, self._recorded.width
        hashes = [np.empty((0, HASH_BYTES), np.uint8)]
        # The total is an estimate by characters, put right group by group as texts are tokenised.
        total = n_characters // CHARACTERS_PER_TOKEN
        with parts.new("tokens") as part:
            with (
                progress(f"encoding {self._name}", unit="tokens", total=total, enabled=self._show_progress) as bar,
                TokenStoreWriter(part.directory, width, storage) as store,
            ):
                for group in _groups(texts, GROUP_BYTES // (width * _BYTES_PER_NUMBER)):
                    living = [text for text in group if text is not None]
                    bar.grow(-sum(map(len, living)) // CHARACTERS_PER_TOKEN)
                    found = encode_states(
                        self._encoder, living, storage, known=known, staging=self._staging, progress=bar
                    )
                    alive = np.array([text is not None for text in group], bool)
                    store.append(_with_gaps(found.states, alive))
                    hashes.append(np.zeros((len(group), HASH_BYTES), np.uint8))
                    hashes[-1][alive] = found.hashes
                    self._report.states += len(living)
                    self._report.states_encoded += found.n_encoded
                    self._report.states_long_documents += found.n_long
            write_hashes(part.directory, np.concatenate(hashes))
        execution = msgspec.to_builtins(self._encoder.execution())
        return TokensPart(part=part.sealed(), storage=storage, n_tokens=store.n_tokens, execution=execution)


def _groups(texts: Iterable[str | None], n_tokens: int) -> Iterator[list[str | None]]:
    """Yield consecutive texts of about so many tokens together, one text at least."""
    group: list[str | None] = []
    waiting = 0
    for text in texts:
        group.append(text)
        waiting += len(text) if text is not None else 0
        if waiting >= n_tokens * CHARACTERS_PER_TOKEN or len(group) >= GROUP:
            yield group
            group, waiting = [], 0
    if group:
        yield group


def _with_gaps(states: TokenVectors, alive: np.ndarray) -> TokenVectors:
    """Return states of the living of some documents as states of all, the others having none."""
    if alive.all():
        return states
    lengths = np.zeros(len(alive), np.int64)
    lengths[alive] = states.lengths
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    return TokenVectors(offsets, states.values, states.scales)


def _lookup(store: StateStore) -> StateLookup:
    def find(hashes: np.ndarray) -> tuple[np.ndarray, TokenVectors]:
        rows = store.find(hashes)
        found = rows >= 0
        return found, store.states.gather(rows[found])

    return find
