"""Which documents of several segments may be returned: those that are not deleted, and pass a filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from indexes.compilation import read_only
from indexes.segment_table import AllowedDocuments

Masks = Sequence[np.ndarray | None]
"""For each segment which documents pass a filter, (n_documents,) bool, None where all do."""


def check_segment(n_documents: int, alive: np.ndarray | None, sequences: np.ndarray) -> None:
    """Raise unless a segment's tombstones and sequence numbers fit its index.

    Raises:
        ValueError: an array has another shape than (n_documents,).
    """
    for name, values in (("alive", alive), ("sequences", sequences)):
        if values is not None and values.shape != (n_documents,):
            raise ValueError(f"{name} has shape {values.shape}, the index {n_documents:,} documents")


class LivingDocuments:
    """The documents of several segments that are not deleted. Immutable.

    Args:
        sizes: number of documents of each segment.
        alive: for each segment (n_documents,) bool, False for deleted documents; None when none is deleted.

    Attributes:
        masks: the same, copied; None also in place of a mask that leaves nothing out.
    """

    def __init__(self, sizes: Sequence[int], alive: Masks) -> None:
        self._sizes = tuple(sizes)
        self.masks = tuple(None if mask is None or mask.all() else read_only(np.array(mask, bool)) for mask in alive)
        self._all = [read_only(np.empty(0, bool)) if mask is None else mask for mask in self.masks]
        self._unfiltered = AllowedDocuments(self._all)

    def allowed(self, masks: Masks | None) -> AllowedDocuments:
        """Return which documents may be returned.

        Args:
            masks: the filter; None allows all. Deleted documents are left out whatever it says.

        Raises:
            ValueError: the masks do not fit the segments.
        """
        if masks is None:
            return self._unfiltered
        if len(masks) != len(self._sizes):
            raise ValueError(f"{len(masks)} masks for {len(self._sizes)} segments; give one for each")
        if all(mask is None for mask in masks):
            return self._unfiltered
        allowed = []
        for number, (mask, alive, size) in enumerate(zip(masks, self.masks, self._sizes, strict=True)):
            if mask is None:
                allowed.append(self._all[number])
                continue
            if mask.shape != (size,):
                raise ValueError(f"mask {number} has shape {mask.shape}, its segment {size:,} documents")
            both = np.array(mask, bool)
            if alive is not None:
                both &= alive
            allowed.append(both)
        return AllowedDocuments(allowed)
