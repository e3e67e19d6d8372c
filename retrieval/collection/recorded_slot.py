"""A place for an encoder that the manifest describes: empty until it is needed, and refused when it is another one."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import Any, Generic, Protocol, Self, TypeVar


class _Recorded(Protocol):
    @property
    def source(self) -> str | None: ...


class _Closable(Protocol):
    def identity(self) -> dict[str, Any]: ...


RecordedT = TypeVar("RecordedT", bound=_Recorded)
MadeT = TypeVar("MadeT", bound=_Closable)


class RecordedSlot(ABC, Generic[RecordedT, MadeT]):
    """Holds one encoder of an open collection; subclasses load, check and compare it.

    Args:
        recorded: what the manifest says; None where it says that there is none.
        encoder: the encoder if the caller gave one; it is checked at once.
    """

    def __init__(self, recorded: RecordedT | None, encoder: MadeT | None = None) -> None:
        self.recorded = recorded
        self._encoder = encoder
        self._loaded_here = False
        self._execution_checked = False
        self._lock = threading.RLock()
        if encoder is not None:
            self._check_given(encoder)

    def renewed(self) -> Self:
        """Return the slot with the same encoder and another lock, for a forked process."""
        other = self._empty()
        other._encoder = self._encoder
        other._loaded_here = self._loaded_here
        other._execution_checked = self._execution_checked
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

    def _empty(self) -> Self:
        """Return the slot without an encoder."""
        return type(self)(self.recorded)

    @abstractmethod
    def _check_given(self, encoder: MadeT) -> None:
        """Raise EncoderMismatchError unless the caller's encoder is the recorded one."""

    @abstractmethod
    def _load(self) -> MadeT:
        """Return the recorded encoder, loaded and checked."""
