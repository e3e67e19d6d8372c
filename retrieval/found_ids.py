"""The ids of found documents, read together for many queries: most of what reading costs is paid once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from indexes.hits import Hits

if TYPE_CHECKING:
    from retrieval.collection.snapshot import Snapshot

_TOGETHER = 1 << 12
"""Documents whose ids are read together; with more of them, the fixed cost no longer matters."""


def found_ids(snapshot: Snapshot, found: Sequence[Hits]) -> list[list[str]]:
    """Return the ids of each query's hits, in their order.

    Args:
        snapshot: what was searched.
        found: one for each query.

    Raises:
        CorruptIndexError: ids are damaged.
    """
    ids = []
    for group in _groups(found):
        if len(group) == 1:
            ids.append(snapshot.ids(group[0].segments, group[0].rows))
            continue
        every = snapshot.ids(
            np.concatenate([hits.segments for hits in group]), np.concatenate([hits.rows for hits in group])
        )
        begin = 0
        for hits in group:
            end = begin + len(hits.rows)
            ids.append(every[begin:end])
            begin = end
    return ids


def _groups(found: Sequence[Hits]) -> Iterator[Sequence[Hits]]:
    """Cut queries' hits into groups of some documents, of one query at least."""
    first = n_documents = 0
    for number, hits in enumerate(found):
        if n_documents + len(hits.rows) > _TOGETHER and number > first:
            yield found[first:number]
            first, n_documents = number, 0
        n_documents += len(hits.rows)
    if first < len(found):
        yield found[first:]
