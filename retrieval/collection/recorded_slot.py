"""A place for an encoder that the manifest describes: empty until it is needed, and refused when it is another one."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import msgspec
import numpy as np

from retrieval.collection.stored_settings import differences
from retrieval.errors import EncoderMismatchError

if TYPE_CHECKING:
    from retrieval.collection.segment import Segment

logger = logging.getLogger(__name__)

_CANARIES = 3
"""Documents that are encoded again, to see whether they come out as they are stored. One has to do where the precision
is the same, and for each way after the first, so that a change or a search from a fresh process stays fast."""


class _Recorded(Protocol):
    @property
    def source(self) -> str | None: ...


class _Made(Protocol):
    def identity(self) -> dict[str, Any]: ...

    def execution(self) -> dict[str, Any]: ...


RecordedT = TypeVar("RecordedT", bound=_Recorded)
MadeT = TypeVar("MadeT", bound=_Made)


class RecordedSlot(ABC, Generic[RecordedT, MadeT]):
    """Holds one encoder of an open collection; subclasses load, check and compare it.

    Args:
        recorded: what the manifest says; None where it says that there is none.
        encoder: the encoder if the caller gave one; it is checked at once.

    Attributes:
        given_as: the argument of a collection that takes the encoder.
        rebuilt_by: method of a collection that makes what is stored anew.
    """

    given_as: str
    rebuilt_by: str

    def __init__(self, recorded: RecordedT | None, encoder: MadeT | None = None) -> None:
        self.recorded = recorded
        self._encoder = encoder
        self._loaded_here = False
        self._comparable: list[Mapping[str, Any]] = []
        self._lock = threading.RLock()
        if encoder is not None:
            self._check_given(encoder)

    def renewed(self) -> Self:
        """Return the slot with the same encoder and another lock, for a forked process."""
        other = self._empty()
        other._encoder = self._encoder
        other._loaded_here = self._loaded_here
        other._comparable = list(self._comparable)
        return other

    def released(self) -> Self:
        """Return the slot without the encoder, unless only its owner could provide it again."""
        return self._empty() if self.recorded is None or self.recorded.source else self.renewed()

    @property
    def loaded(self) -> bool:
        """Whether the encoder is in memory."""
        return self._encoder is not None

    def get(self) -> MadeT:
        """Return the encoder, loading and checking it first if need be.

        Raises:
            EncoderError: it cannot be loaded.
            EncoderMismatchError: what was found under its name is another one.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder = self._load()
                self._loaded_here = True
            return self._encoder

    def comparable(self, segments: Iterable[Segment]) -> MadeT:
        """Return the encoder, once it is sure that what segments store compares with what it makes here.

        Where something was computed in another way (device, precision, versions), a few of its texts are encoded again:
        once for each way.

        Raises:
            EncoderError: it cannot be loaded (RerankerError for a network).
            EncoderMismatchError: it is another one, or makes something else of a text than what is stored.
        """
        with self._lock:
            encoder = self.get()
            for segment in segments:
                stored = self._stored_execution(segment)
                if stored is None or stored in self._comparable:
                    continue
                here = msgspec.json.decode(msgspec.json.encode(encoder.execution()))  # as it is stored: tuples as lists
                if stored != here and not self._compares(encoder, segment, stored, here):
                    continue
                self._comparable.append(stored)
            return encoder

    def _compares(self, encoder: MadeT, segment: Segment, stored: Mapping[str, Any], here: Mapping[str, Any]) -> bool:
        """Compare some texts of a segment with what is stored of them; False where it has none.

        Raises:
            EncoderMismatchError: they differ by more than they may.
        """
        alike = stored.get("precision") is not None and stored["precision"] == here.get("precision")
        cosines = self._cosines(encoder, segment, 1 if alike or self._comparable else _CANARIES)
        if not len(cosines):
            return False
        lowest = float(cosines.min())
        floor = self._cosine_floor(stored, here)
        shown = differences(dict(stored), dict(here))
        if lowest < floor:
            raise EncoderMismatchError(
                f"texts encoded here differ from the stored {self._content} (cosine {lowest:.5f}, at least {floor} is "
                f"needed); execution differs: {shown}; open the collection with {self.given_as}= loaded with the same "
                f"settings, or {self.rebuilt_by}()"
            )
        logger.info(
            "%s of %s were computed elsewhere (%s); cosine here %.6f", self._content, segment.name, shown, lowest
        )
        return True

    def _empty(self) -> Self:
        """Return the slot without an encoder."""
        return type(self)(self.recorded)

    @property
    @abstractmethod
    def _content(self) -> str:
        """What the encoder makes, for messages."""

    @abstractmethod
    def _stored_execution(self, segment: Segment) -> Mapping[str, Any] | None:
        """Return how what a segment stores was computed; None where it stores nothing."""

    @abstractmethod
    def _cosines(self, encoder: MadeT, segment: Segment, n: int) -> np.ndarray:
        """Return the cosines between what is stored of some documents and what is made of them here, one each.

        Args:
            encoder: of the slot.
            segment: where the documents are.
            n: how many of them at most; none of which nothing is stored.

        Raises:
            EncoderError: what is made is no vector (RerankerError of states).
        """

    @abstractmethod
    def _cosine_floor(self, stored: Mapping[str, Any], here: Mapping[str, Any]) -> float:
        """Return how near both must be, by how they were computed."""

    @abstractmethod
    def _check_given(self, encoder: MadeT) -> None:
        """Raise EncoderMismatchError unless the caller's encoder is the recorded one."""

    @abstractmethod
    def _load(self) -> MadeT:
        """Return the recorded encoder, loaded and checked."""
