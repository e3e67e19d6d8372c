"""What an open collection holds and may exchange: the snapshot that searches see, and the encoder."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from retrieval.collection.encoder_slot import EncoderSlot
from retrieval.collection.snapshot import Snapshot, open_snapshot


class OpenState:
    """The current snapshot and encoder slot of one collection object; safe to use from several threads.

    Attributes:
        directory: the collection.
        slot: its encoder.
    """

    def __init__(self, directory: Path, snapshot: Snapshot, slot: EncoderSlot) -> None:
        self.directory = directory
        self.slot = slot
        self._snapshot: Snapshot | None = snapshot
        self._process = os.getpid()
        self._lock = threading.Lock()

    def current(self) -> Snapshot:
        """Return the snapshot to search; a forked process opens its own, as does whoever uses a closed collection."""
        snapshot = self._snapshot
        if snapshot is not None and self._process == os.getpid():
            return snapshot
        if self._process != os.getpid():
            # The parent's thread may have held the lock at the time of the fork.
            self._lock = threading.Lock()
            self._process = os.getpid()
            self._snapshot = None
        with self._lock:
            if self._snapshot is None:
                self._snapshot = open_snapshot(self.directory)
            return self._snapshot

    def refresh(self) -> bool:
        """Move on to the last commit; returns whether it is another one."""
        before = self.current()
        with self._lock:
            newer = open_snapshot(self.directory, before)
            self._snapshot = newer
            if newer.manifest.encoder != self.slot.recorded:
                self.slot = EncoderSlot(newer.manifest.encoder)
        return newer is not before

    def replace_slot(self, slot: EncoderSlot) -> None:
        """Take another encoder, after a commit that was made with it."""
        self.slot = slot

    def close(self) -> None:
        """Let go of files and encoder."""
        self._snapshot = None
        self.slot = EncoderSlot(self.slot.recorded)
