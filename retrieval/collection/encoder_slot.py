"""The collection's encoder: loaded when a text must become a vector, and refused when it is not the one recorded."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np

from retrieval.collection.begun_execution import are_eight_bits, cosine_floor, execution_begun_with
from retrieval.collection.manifest import EncoderEntry
from retrieval.collection.recorded_slot import RecordedSlot
from retrieval.collection.stored_settings import differences
from retrieval.errors import EncoderError, EncoderMismatchError

if TYPE_CHECKING:
    from retrieval.collection.manifest import Manifest
    from retrieval.collection.passage_store import PassageStore
    from retrieval.collection.segment import Segment
    from retrieval.collection.snapshot import Snapshot
    from retrieval.encoders import Encoder

_CANDIDATES = 32
"""Documents of a segment among which the shortest are looked for, to be encoded again."""

GIVEN = "given"
"""Identity kind of vectors that the user computes."""


def entry_of(encoder: Encoder) -> EncoderEntry:
    """Return what the manifest records of an encoder."""
    return EncoderEntry(
        identity=msgspec.to_builtins(encoder.identity()),
        dimension=encoder.dimension,
        similarity=encoder.similarity,
        source=encoder.source,
    )


def entry_for_given_vectors(dimension: int, similarity: str) -> EncoderEntry:
    """Return what the manifest records when the user gives the vectors."""
    return EncoderEntry({"kind": GIVEN, "dimension": dimension, "similarity": similarity}, dimension, similarity)


def check_identity(recorded: EncoderEntry, encoder: Encoder) -> None:
    """Refuse an encoder that is not the recorded one.

    Raises:
        EncoderMismatchError: showing every difference, and what to do.
    """
    found = msgspec.to_builtins(encoder.identity())
    if found != recorded.identity:
        raise EncoderMismatchError(
            f"the collection was built with another encoder: {differences(recorded.identity, found)}; "
            "open it with that one, or call reencode() to build this one's vectors"
        )


class EncoderSlot(RecordedSlot[EncoderEntry, "Encoder"]):
    """Holds the encoder of an open collection's vectors; see `RecordedSlot`.

    Args:
        recorded: see there.
        encoder: likewise.
        settings: to load the encoder with, see `execution_begun_with`.
        late: whether passages are pooled from the states of the whole document.
    """

    given_as = "encoder"
    rebuilt_by = "reencode"

    def __init__(
        self,
        recorded: EncoderEntry | None,
        encoder: Encoder | None = None,
        settings: Mapping[str, Any] = MappingProxyType({}),
        *,
        late: bool = False,
    ) -> None:
        super().__init__(recorded, encoder)
        self._settings = settings
        self._late = late

    @classmethod
    def of_manifest(cls, manifest: Manifest, encoder: Encoder | None = None) -> Self:
        """Return the slot that a manifest describes, with the encoder if the caller gave one."""
        late = manifest.settings["long"]["policy"] == "late"
        return cls(manifest.encoder, encoder, execution_begun_with(manifest), late=late)

    def go_on_with(self, manifest: Manifest) -> Self:
        """Return the slot, which is to load its encoder, if it has to, as the vectors of a manifest were begun.

        They may be others than before (another process encoded them anew): what is computed here is compared with them
        once more, and an encoder in eight bits, or one for them, that was loaded here is let go.
        """
        begun = execution_begun_with(manifest)
        if any(segment.dense is not None for segment in manifest.segments) and begun != self._settings:
            with self._lock:
                if self._loaded_here and (are_eight_bits(begun) or are_eight_bits(self._settings)):
                    self._encoder = None
                self._settings = begun
                self._comparable.clear()
        return self

    def _empty(self) -> Self:
        return type(self)(self.recorded, settings=self._settings, late=self._late)

    def _check_given(self, encoder: Encoder) -> None:
        if self.recorded is None:
            raise EncoderMismatchError(
                "the collection has no vectors and cannot use an encoder; call reencode() to build them"
            )
        check_identity(self.recorded, encoder)

    @property
    def gives_own_vectors(self) -> bool:
        """Whether the vectors come from the user, so that there is nothing to load."""
        return self.recorded is not None and self.recorded.identity.get("kind") == GIVEN

    def _load(self) -> Encoder:
        from retrieval.encoders import reload_encoder

        if self.recorded is None:
            raise EncoderError("the collection has no vectors; call reencode() with an encoder to build them")
        if self.gives_own_vectors:
            raise EncoderError(
                "the collection's vectors are given by its user; pass vector= (search) or vectors= (add)"
            )
        if self.recorded.source is None:
            raise EncoderError(
                f"the collection's encoder ({_name(self.recorded.identity)}) cannot be loaded by name; "
                "open the collection with encoder="
            )
        encoder = reload_encoder(self.recorded.source, self.recorded.identity, **self._settings)
        check_identity(self.recorded, encoder)
        return encoder

    def encode_queries(self, texts: list[str], snapshot: Snapshot) -> np.ndarray:
        """Return the queries' vectors, (n, d) float32, once it is sure that the stored ones compare with them."""
        from retrieval.encoders.base import check_vectors, name_of

        encoder = self.comparable(snapshot.segments)
        return check_vectors(encoder.encode_queries(texts), len(texts), encoder.dimension, name_of(encoder))

    @property
    def _content(self) -> str:
        return "vectors"

    def _stored_execution(self, segment: Segment) -> Mapping[str, Any] | None:
        passages = segment.passages
        return passages.execution if passages is not None and passages.vectors.n_passages else None

    def _cosine_floor(self, stored: Mapping[str, Any], here: Mapping[str, Any]) -> float:
        return cosine_floor(stored, here)

    def _cosines(self, encoder: Encoder, segment: Segment, n: int) -> np.ndarray:
        passages = segment.passages
        rows = segment.alive_rows()[:_CANDIDATES].tolist()
        found = [row for row in rows if passages is not None and len(passages.of_document(row))]
        if passages is None or not found:
            return np.empty(0)
        # Short ones, which the first search of a process encodes before it has loaded a library.
        found = sorted(found, key=lambda row: len(segment.documents.full_text(row)[0]))[:n]
        again = _first_passages(encoder, segment, passages, found, late=self._late).astype(np.float64)
        positions = np.array([passages.of_document(row)[0] for row in found], np.int64)
        stored = passages.vectors.gather(positions).astype(np.float64)
        norms = np.linalg.norm(again, axis=1) * np.linalg.norm(stored, axis=1)
        return np.where(norms > 0, (again * stored).sum(axis=1) / np.where(norms > 0, norms, 1), 1.0)


def _first_passages(
    encoder: Encoder, segment: Segment, passages: PassageStore, rows: list[int], *, late: bool
) -> np.ndarray:
    """Return the vectors of the first passages of documents as this encoder makes them now, (n, d) float32."""
    from retrieval.encoders.base import check_vectors, name_of

    texts = [segment.documents.full_text(row) for row in rows]
    spans = [passages.spans[list(passages.of_document(row))] for row in rows]
    in_context = np.array([late and len(span) > 1 for span in spans], bool)
    vectors = np.empty((len(rows), encoder.dimension), np.float32)
    if not in_context.all():
        # A document's first passage is encoded as it stands in the text; so is, under any policy, its only one.
        alone = [texts[each][0][slice(*spans[each][0].tolist())] for each in np.flatnonzero(~in_context).tolist()]
        vectors[~in_context] = check_vectors(
            encoder.encode_passages(alone), len(alone), encoder.dimension, name_of(encoder)
        )
    if in_context.any():
        from retrieval.encoders.late_chunking import TextInContext, late_chunking_encoder

        numbers = np.flatnonzero(in_context)
        documents = [TextInContext(*texts[each], spans[each], np.arange(len(spans[each])) == 0) for each in numbers]
        for pooled in late_chunking_encoder(encoder).encode_in_context(documents):
            vectors[numbers[pooled.text]] = pooled.vectors[0]
    return vectors


def _name(identity: dict[str, Any]) -> str:
    return str(identity.get("name") or identity.get("kind") or "unnamed")
