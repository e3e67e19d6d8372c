"""Merging the stored states of segments: copied as they are, checked on the way, in the order of the new documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from indexes.token_store import TokenStoreWriter
from retrieval.batching import plan_windows
from retrieval.collection.manifest import TokensPart
from retrieval.collection.parts import PartWriter
from retrieval.collection.passage_hashes import write_hashes
from retrieval.collection.stored_settings import shared_facts
from retrieval.collection.token_store import StateStore, gather_states
from retrieval.staging import HASH_BYTES

_BLOCK_NUMBERS = 8 << 20
"""Numbers of states that are copied together."""


def merge_states(
    parts: PartWriter, sources: Sequence[Mapping[str, StateStore]], places: np.ndarray
) -> dict[str, TokensPart]:
    """Write the states of chosen documents of several segments, of each name that all of these have.

    Args:
        parts: where the parts go.
        sources: of each segment its states, by name.
        places: (n, 2) int64, segment and row of each document in the new order.
    """
    names = sorted(set.intersection(*(set(source) for source in sources)))
    return {name: _merge(parts, [source[name] for source in sources], places) for name in names}


def _merge(parts: PartWriter, stores: Sequence[StateStore], places: np.ndarray) -> TokensPart:
    numbers, rows = places[:, 0], places[:, 1]
    lengths = np.empty(len(places), np.int64)
    hashes = np.empty((len(places), HASH_BYTES), np.uint8)
    for number, store in enumerate(stores):
        mine = numbers == number
        lengths[mine], hashes[mine] = store.states.lengths(rows[mine]), store.hashes.of(rows[mine])
    first = stores[0].states
    with parts.new("tokens") as part:
        with TokenStoreWriter(part.directory, first.width, first.storage) as writer:
            for block in plan_windows(np.maximum(lengths, 1) * first.width, _BLOCK_NUMBERS):
                writer.append(gather_states(stores, numbers[block], rows[block]))
        write_hashes(part.directory, hashes)
    execution = shared_facts([store.execution for store in stores])
    return TokensPart(part=part.sealed(), storage=first.storage, n_tokens=writer.n_tokens, execution=execution)
