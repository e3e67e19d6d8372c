"""A segment with the deletions of a transaction that is not committed yet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrieval.collection.segment import Segment


@dataclass(slots=True, eq=False)
class WorkingSegment:
    """A segment as this transaction sees it; `alive` is None until something in it is deleted."""

    segment: Segment
    alive: np.ndarray | None

    @property
    def n_alive(self) -> int:
        """Documents that are not deleted."""
        return self.segment.entry.n_documents if self.alive is None else int(self.alive.sum())

    def is_alive(self, row: int) -> bool:
        """Tell whether a row is not deleted."""
        return self.alive is None or bool(self.alive[row])

    def delete(self, row: int) -> None:
        """Mark a row as deleted, in a copy of the committed tombstones."""
        if self.alive is None:
            self.alive = np.ones(self.segment.entry.n_documents, bool)
        elif self.alive is self.segment.alive:
            self.alive = self.alive.copy()
        self.alive[row] = False

    def alive_rows(self) -> np.ndarray:
        """Return the rows that are not deleted, ascending."""
        return np.arange(self.segment.entry.n_documents) if self.alive is None else np.flatnonzero(self.alive)
