"""What an open collection holds and may exchange: the snapshot that searches see, and the encoder of its vectors."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import NamedTuple

from retrieval.collection.encoder_slot import EncoderSlot
from retrieval.collection.snapshot import Snapshot, open_snapshot


class Opened(NamedTuple):
    """A snapshot and the encoder of its vectors; exchanged together, so that no search can mix two generations.

    Attributes:
        snapshot: None when the collection was closed.
        slot: its encoder.
    """

    snapshot: Snapshot | None
    slot: EncoderSlot


class OpenState:
    """The current snapshot and encoder of one collection object; safe to use from several threads.

    Attributes:
        directory: the collection.
    """

    def __init__(self, directory: Path, snapshot: Snapshot, slot: EncoderSlot) -> None:
        self.directory = directory
        self._opened = Opened(snapshot, slot)
        self._expected = slot
        self._process = os.getpid()
        self._lock = threading.Lock()

    @property
    def slot(self) -> EncoderSlot:
        """The encoder of the current snapshot."""
        return self._opened.slot

    def current(self) -> tuple[Snapshot, EncoderSlot]:
        """Return the snapshot to search and its encoder.

        A forked process opens its own, as does whoever uses a closed collection.
        """
        opened = self._opened
        if opened.snapshot is not None and self._process == os.getpid():
            return opened.snapshot, opened.slot
        if self._process != os.getpid():
            # The parent's other threads may have held any of the locks at the time of the fork.
            self._lock = threading.Lock()
            self._opened, self._expected = Opened(None, opened.slot.renewed()), self._expected.renewed()
            self._process = os.getpid()
        with self._lock:
            opened = self._opened
            if opened.snapshot is not None:
                return opened.snapshot, opened.slot
            return self._take(open_snapshot(self.directory))

    def expect(self, slot: EncoderSlot) -> None:
        """Note the encoder of a commit that is about to be made here; from whatever moment on it is there."""
        self._expected = slot

    def refresh(self) -> bool:
        """Move on to the last commit; returns whether it is another one."""
        before, _ = self.current()
        with self._lock:
            newer = open_snapshot(self.directory, before)
            self._take(newer)
        return newer is not before

    def close(self) -> None:
        """Let go of files and encoder; an encoder that could not be loaded again by its name is kept."""
        with self._lock:
            self._opened, self._expected = Opened(None, self._opened.slot.released()), self._expected.released()

    def _take(self, snapshot: Snapshot) -> tuple[Snapshot, EncoderSlot]:
        recorded = snapshot.manifest.encoder
        fitting = [slot for slot in (self._expected, self._opened.slot) if slot.recorded == recorded]
        slot = fitting[0] if fitting else EncoderSlot(recorded)
        self._opened = Opened(snapshot, slot)
        return snapshot, slot
