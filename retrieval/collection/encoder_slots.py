"""The encoders of a collection: the one of its vectors and the one of its sparse vectors."""

from __future__ import annotations

from typing import NamedTuple

from retrieval.collection.encoder_slot import EncoderSlot
from retrieval.collection.manifest import Manifest
from retrieval.collection.sparse_slot import SparseSlot


class EncoderSlots(NamedTuple):
    """A slot for each representation that an encoder makes; empty ones where the collection has none."""

    dense: EncoderSlot
    sparse: SparseSlot

    @classmethod
    def recorded(cls, manifest: Manifest) -> EncoderSlots:
        """Return the slots that a manifest describes, without any encoder loaded."""
        return cls(EncoderSlot(manifest.encoder), SparseSlot(manifest.sparse))

    def renewed(self) -> EncoderSlots:
        """Return the slots with the same encoders and other locks, for a forked process."""
        return EncoderSlots(self.dense.renewed(), self.sparse.renewed())

    def released(self) -> EncoderSlots:
        """Return the slots without the encoders that can be loaded again."""
        return EncoderSlots(self.dense.released(), self.sparse.released())

    def fitting(self, manifest: Manifest, other: EncoderSlots) -> EncoderSlots:
        """Return for each representation the slot of these, else of the other ones, that the manifest describes."""
        dense = [slot for slot in (self.dense, other.dense) if slot.recorded == manifest.encoder]
        sparse = [slot for slot in (self.sparse, other.sparse) if slot.recorded == manifest.sparse]
        fresh = EncoderSlots.recorded(manifest)
        return EncoderSlots(dense[0] if dense else fresh.dense, sparse[0] if sparse else fresh.sparse)
