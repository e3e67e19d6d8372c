"""A document that waits in memory to be written."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from retrieval.collection.document_store import StoredDocument
from retrieval.documents.document import metadata_json

_OVERHEAD = 600
"""Bytes that a waiting document takes beside its texts and metadata (objects, hash-table entries)."""

_METADATA_EXPANSION = 4
"""Bytes in memory for a byte of JSON, about."""


@dataclass(slots=True, eq=False)
class PendingDocument:
    """A document that waits to be written.

    Attributes:
        stored: document, sequence number and content hash.
        vector: given by the caller, (d,) float32; None when the encoder makes it.
    """

    stored: StoredDocument
    vector: np.ndarray | None

    @property
    def memory(self) -> int:
        """About how many bytes it takes."""
        document = self.stored.document
        # A string takes 1, 2 or 4 bytes a character, by its widest one.
        metadata = len(metadata_json(document)) * _METADATA_EXPANSION if document.metadata else 0
        vector = 0 if self.vector is None else self.vector.nbytes
        return sys.getsizeof(document.text) + sys.getsizeof(document.title) + metadata + vector + _OVERHEAD
