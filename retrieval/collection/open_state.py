"""What an open collection holds and may exchange: the snapshot that searches see, and its encoders."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import NamedTuple

from retrieval.collection.encoder_slots import EncoderSlots
from retrieval.collection.snapshot import Snapshot, open_snapshot


class Opened(NamedTuple):
    """A snapshot and its encoders; exchanged together, so that no search can mix two generations.

    Attributes:
        snapshot: None when the collection was closed.
        slots: its encoders.
    """

    snapshot: Snapshot | None
    slots: EncoderSlots


class OpenState:
    """The current snapshot and encoders of one collection object; safe to use from several threads.

    Attributes:
        directory: the collection.
    """

    def __init__(self, directory: Path, snapshot: Snapshot, slots: EncoderSlots) -> None:
        self.directory = directory
        self._opened = Opened(snapshot, slots)
        self._expected = slots
        self._process = os.getpid()
        self._lock = threading.Lock()

    def current(self) -> tuple[Snapshot, EncoderSlots]:
        """Return the snapshot to search and its encoders.

        A forked process opens its own, as does whoever uses a closed collection.
        """
        opened = self._opened
        if opened.snapshot is not None and self._process == os.getpid():
            return opened.snapshot, opened.slots
        if self._process != os.getpid():
            # The parent's other threads may have held any of the locks at the time of the fork.
            self._lock = threading.Lock()
            self._opened, self._expected = Opened(None, opened.slots.renewed()), self._expected.renewed()
            self._process = os.getpid()
        with self._lock:
            opened = self._opened
            if opened.snapshot is not None:
                return opened.snapshot, opened.slots
            return self._take(open_snapshot(self.directory))

    def expect(self, slots: EncoderSlots) -> None:
        """Note the encoders of a commit that is about to be made here; from whatever moment on it is there."""
        self._expected = slots

    def refresh(self) -> bool:
        """Move on to the last commit; returns whether it is another one."""
        before, _ = self.current()
        with self._lock:
            newer = open_snapshot(self.directory, before)
            self._take(newer)
        return newer is not before

    def close(self) -> None:
        """Let go of files and encoders; an encoder that could not be loaded again by its name is kept."""
        with self._lock:
            self._opened, self._expected = Opened(None, self._opened.slots.released()), self._expected.released()

    def _take(self, snapshot: Snapshot) -> tuple[Snapshot, EncoderSlots]:
        slots = self._expected.fitting(snapshot.manifest, self._opened.slots)
        self._opened = Opened(snapshot, slots)
        return snapshot, slots
