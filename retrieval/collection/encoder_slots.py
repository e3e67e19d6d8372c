"""The encoders of a collection: of its vectors, of its sparse vectors, and of the states that it stores."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from retrieval.collection.encoder_slot import EncoderSlot
from retrieval.collection.manifest import Manifest
from retrieval.collection.sparse_slot import SparseSlot
from retrieval.collection.token_slot import TokenSlot

_NONE: Mapping[str, TokenSlot] = MappingProxyType({})


class EncoderSlots(NamedTuple):
    """A slot for each representation that an encoder makes; empty ones where the collection has none.

    Attributes:
        dense: of the vectors.
        sparse: of the sparse vectors.
        tokens: of stored states, by the name of the network's stage.
    """

    dense: EncoderSlot
    sparse: SparseSlot
    tokens: Mapping[str, TokenSlot] = _NONE

    @classmethod
    def recorded(cls, manifest: Manifest) -> EncoderSlots:
        """Return the slots that a manifest describes, without any encoder loaded."""
        tokens = {name: TokenSlot(entry, name=name) for name, entry in manifest.tokens.items()}
        return cls(EncoderSlot.of_manifest(manifest), SparseSlot(manifest.sparse), tokens)

    def renewed(self) -> EncoderSlots:
        """Return the slots with the same encoders and other locks, for a forked process."""
        tokens = {name: slot.renewed() for name, slot in self.tokens.items()}
        return EncoderSlots(self.dense.renewed(), self.sparse.renewed(), tokens)

    def released(self) -> EncoderSlots:
        """Return the slots without the encoders that can be loaded again."""
        tokens = {name: slot.released() for name, slot in self.tokens.items()}
        return EncoderSlots(self.dense.released(), self.sparse.released(), tokens)

    def fitting(self, manifest: Manifest, other: EncoderSlots) -> EncoderSlots:
        """Return for each representation the slot of these, else of the other ones, that the manifest describes."""
        dense = [slot for slot in (self.dense, other.dense) if slot.recorded == manifest.encoder]
        sparse = [slot for slot in (self.sparse, other.sparse) if slot.recorded == manifest.sparse]
        fresh = EncoderSlots.recorded(manifest)
        tokens = dict(fresh.tokens)
        for name, entry in manifest.tokens.items():
            slots = [each.tokens[name] for each in (self, other) if name in each.tokens]
            tokens[name] = next((slot for slot in slots if slot.recorded == entry), fresh.tokens[name])
        found = dense[0].go_on_with(manifest) if dense else fresh.dense
        return EncoderSlots(found, sparse[0] if sparse else fresh.sparse, tokens)
