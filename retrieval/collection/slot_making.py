"""From the encoders that users name to the slots of a collection, a new one or one that is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from retrieval.chunking import ChunkSettings
from retrieval.collection.begun_execution import are_eight_bits, execution_begun_with
from retrieval.collection.encoder_slot import EncoderSlot, check_identity, entry_of
from retrieval.collection.encoder_slots import EncoderSlots
from retrieval.collection.sparse_slot import SparseSlot, sparse_entry_of
from retrieval.collection.token_slot import TokenSlot, TokenStates, token_slots
from retrieval.errors import CollectionError

if TYPE_CHECKING:
    from retrieval.collection.manifest import Manifest
    from retrieval.collection.token_slot import TokensSpec
    from retrieval.encoders import EncoderSpec, SparseEncoderSpec


def dense_slot(encoder: EncoderSpec, long: ChunkSettings) -> EncoderSlot:
    """Return the slot of an encoder, loaded.

    Raises:
        EncoderError: it cannot be loaded, or cannot do what `long` asks of it.
    """
    if encoder is None:
        return EncoderSlot(None)
    from retrieval.encoders import load_encoder

    loaded = load_encoder(encoder)
    if long.policy == "late":
        from retrieval.encoders.late_chunking import late_chunking_encoder

        late_chunking_encoder(loaded)
    return EncoderSlot(entry_of(loaded), loaded, late=long.policy == "late")


def sparse_slot(sparse: SparseEncoderSpec | None, largest_weight: float | None) -> SparseSlot:
    """Return the slot of a sparse encoder, loaded.

    Raises:
        CollectionError: there is a largest weight, but no encoder, or it makes no sense.
        EncoderError: the encoder cannot be loaded.
    """
    if sparse is None:
        if largest_weight is not None:
            raise CollectionError("largest_weight is of sparse vectors; give sparse= as well")
        return SparseSlot(None)
    from retrieval.encoders import load_sparse_encoder

    loaded = load_sparse_encoder(sparse)
    return SparseSlot(sparse_entry_of(loaded, largest_weight), loaded)


def recorded_slots(
    manifest: Manifest, encoder: EncoderSpec, sparse: SparseEncoderSpec | None, tokens: TokensSpec | None
) -> EncoderSlots:
    """Return the slots that a manifest describes, with the encoders that are given for them.

    Raises:
        CollectionError: it has no states of a name that is given, or stores them in another form.
        EncoderError: an encoder cannot be loaded.
        EncoderMismatchError: it records another encoder; the message shows how.
    """
    loaded = loaded_sparse = None
    if encoder is not None:
        from retrieval.encoders import load_encoder

        begun = {}
        if isinstance(encoder, (str, Path)) and manifest.encoder is not None:
            begun = execution_begun_with(manifest)
            if are_eight_bits(begun):  # another model would be exported first, and fail for want of a calibration
                check_identity(manifest.encoder, load_encoder(encoder))
        loaded = load_encoder(encoder, **begun)
    if sparse is not None:
        from retrieval.encoders import load_sparse_encoder

        loaded_sparse = load_sparse_encoder(sparse)
    given = token_slots(tokens)
    slots = EncoderSlots.recorded(manifest)
    of_names = dict(slots.tokens)
    for name, slot in given.items():
        recorded = manifest.tokens.get(name)
        if recorded is None:
            raise CollectionError(
                f"the collection stores no states of {name!r}; leave it out, or call reencode_tokens() to build them"
            )
        wanted = (tokens or {})[name]
        if isinstance(wanted, TokenStates) and wanted.storage != recorded.storage:
            raise CollectionError(
                f"the collection stores the states of {name!r} as {recorded.storage}, not {wanted.storage}; leave that "
                "out, or call reencode_tokens()"
            )
        of_names[name] = TokenSlot(recorded, slot.get(), name=name)
    return EncoderSlots(EncoderSlot.of_manifest(manifest, loaded), SparseSlot(manifest.sparse, loaded_sparse), of_names)
