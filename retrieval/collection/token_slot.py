"""The collection's late-interaction networks: loaded when a text must become states, refused when one is another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import msgspec
import numpy as np

from indexes.errors import VectorError
from indexes.token_vectors import Storage, TokenVectors, check_storage, encoded
from retrieval.collection.manifest import TokensEntry
from retrieval.collection.recorded_slot import RecordedSlot
from retrieval.collection.stored_settings import differences
from retrieval.errors import CollectionError, EncoderMismatchError, RerankerError

if TYPE_CHECKING:
    from retrieval.collection.segment import Segment
    from retrieval.collection.snapshot import Snapshot
    from retrieval.rerankers.passage_states import QueryStates, StateEncoder, StatesSpec

COSINE_FLOOR = 0.999
"""Least cosine between the stored states of a document and those of the same text made here, all tokens as one."""


@dataclass(frozen=True)
class TokenStates:
    """States of a late-interaction network that a collection stores, where the default storage is not meant.

    Attributes:
        network: folder or name of the reranker, a loaded one, or its network.
        storage: "float16", or "int8", which takes half of that and rounds more (`indexes.token_vectors`).
    """

    network: StatesSpec
    storage: Storage = "float16"


TokensSpec: TypeAlias = "Mapping[str, StatesSpec | TokenStates]"
"""Networks whose states are stored, by the name of the stage that they will be."""


def token_slots(tokens: TokensSpec | None) -> dict[str, TokenSlot]:
    """Return slots for the networks that a collection is to have, loaded.

    Raises:
        CollectionError: they are not given by name, or how they are stored is unknown.
        QueryError: a name cannot be that of a stage.
        RerankerError: a network cannot be loaded, or has no states.
    """
    from retrieval.pipeline.stages import check_reranker_name
    from retrieval.rerankers.passage_states import load_state_encoder

    if tokens is None:
        return {}
    if not isinstance(tokens, Mapping):
        raise CollectionError(f"stored states are given by name, tokens={{'colbert': …}}, not {tokens!r:.80}")
    for name in tokens:
        check_reranker_name(name)
    slots = {}
    for name, given in tokens.items():
        wanted = given if isinstance(given, TokenStates) else TokenStates(given)
        try:
            check_storage(wanted.storage)
        except VectorError as error:
            raise CollectionError(str(error)) from None
        encoder = load_state_encoder(wanted.network)
        entry = TokensEntry(
            identity=_as_json(encoder.identity()),
            width=encoder.width,
            storage=wanted.storage,
            source=encoder.source,
        )
        slots[name] = TokenSlot(entry, encoder, name=name)
    return slots


class TokenSlot(RecordedSlot[TokensEntry, "StateEncoder"]):
    """Holds a late-interaction network of an open collection; see `RecordedSlot`.

    Args:
        recorded: see there.
        encoder: likewise.
        name: of the network's stage.
    """

    given_as = "tokens"
    rebuilt_by = "reencode_tokens"

    def __init__(self, recorded: TokensEntry | None, encoder: StateEncoder | None = None, *, name: str) -> None:
        super().__init__(recorded, encoder)
        self._name = name

    def _empty(self) -> Self:
        return type(self)(self.recorded, name=self._name)

    def _check_given(self, encoder: StateEncoder) -> None:
        if self.recorded is None:
            raise EncoderMismatchError("the collection has no stored states; call reencode_tokens() to build them")
        found = _as_json(encoder.identity())
        if found != self.recorded.identity:
            raise EncoderMismatchError(
                f"the collection's states were made by another network: {differences(self.recorded.identity, found)}; "
                "open it with that one, or call reencode_tokens() to build this one's states"
            )

    def _load(self) -> StateEncoder:
        from retrieval.rerankers.passage_states import load_state_encoder

        if self.recorded is None:
            raise RerankerError("the collection has no stored states; call reencode_tokens() to build them")
        if self.recorded.source is None:
            name = self.recorded.identity.get("name") or self.recorded.identity.get("kind") or "unnamed"
            raise RerankerError(
                f"the network of the collection's states ({name}) cannot be loaded by name; open the collection with "
                "tokens="
            )
        encoder = load_state_encoder(self.recorded.source)
        self._check_given(encoder)
        return encoder

    def encode_queries(self, queries: list[str], snapshot: Snapshot) -> list[QueryStates]:
        """Return queries, encoded, once it is sure that the stored states are such as the network makes here.

        Raises:
            RerankerError: the network cannot be loaded.
            EncoderMismatchError: it makes other states than the stored ones.
        """
        return self.comparable(snapshot.segments).encode_queries(queries)

    @property
    def _content(self) -> str:
        return f"states of {self._name!r}"

    def _stored_execution(self, segment: Segment) -> Mapping[str, Any] | None:
        return segment.tokens[self._name].execution if self._name in segment.tokens else None

    def _cosine_floor(self, stored: Mapping[str, Any], here: Mapping[str, Any]) -> float:  # noqa: ARG002
        return COSINE_FLOOR

    def _cosines(self, encoder: StateEncoder, segment: Segment, n: int) -> np.ndarray:
        rows = segment.alive_rows()[:n]
        if self.recorded is None or not len(rows):
            return np.empty(0)
        texts = [segment.documents.full_text(row)[0] for row in rows.tolist()]
        again = encoded(encoder.encode(encoder.prepare(texts), np.arange(len(texts))), self.recorded.storage)
        stored = segment.tokens[self._name].states.gather(rows)
        return np.array([_cosine(again.some(at, at + 1), stored.some(at, at + 1)) for at in range(len(texts))])


def _as_json(facts: dict[str, Any]) -> dict[str, Any]:
    """Return facts as the manifest gives them back: settings may hold tuples, which become lists."""
    read: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(facts))
    return read


def _cosine(first: TokenVectors, second: TokenVectors) -> float:
    one, other = (vectors.decoded().astype(np.float64).ravel() for vectors in (first, second))
    if len(one) != len(other):
        return 0.0
    lengths = np.linalg.norm(one) * np.linalg.norm(other)
    return float(one @ other / lengths) if lengths else float(not one.any() and not other.any())
