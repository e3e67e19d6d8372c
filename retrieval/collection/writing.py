"""When a change begins and how it ends: lock, transaction, commit or discard."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

from indexes.errors import NotDurableError, StorageError
from indexes.locks import WriterLock
from retrieval.analysis import Analyser
from retrieval.collection.encoder_slots import EncoderSlots
from retrieval.collection.open_state import OpenState
from retrieval.collection.parts import remove_unnamed_parts
from retrieval.collection.reports import ChangeReport
from retrieval.collection.segment_writer import SegmentWriter
from retrieval.collection.stored_settings import CollectionSettings
from retrieval.collection.transaction import Transaction
from retrieval.errors import CollectionError, RetrievalError

LOCK_NAME = "writer.lock"


class _CallersError(Exception):
    """Carries an error of the system that the code inside a batch ran into, through the end of the transaction."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class Writer:
    """Runs the changes of one collection object, one at a time.

    Args:
        state: what the collection holds.
        settings: the collection's.
        analyser: made from them.
        progress: show progress bars on a terminal.
    """

    def __init__(
        self, state: OpenState, settings: CollectionSettings, analyser: Analyser, *, progress: bool = False
    ) -> None:
        self._state = state
        self._settings = settings
        self._analyser = analyser
        self._progress = progress
        self._turn = threading.RLock()
        self._process = os.getpid()
        self._open: Transaction | None = None
        self._failed = False

    @contextlib.contextmanager
    def change(self, replace: Callable[[EncoderSlots], EncoderSlots] | None = None) -> Iterator[Transaction]:
        """Run one change: a commit of its own, or a part of the open batch.

        Args:
            replace: returns other encoders than the collection's, which it then has from this commit on.
        """
        self._after_fork()
        with self._turn:
            if self._open is None:
                with self._transaction(replace) as transaction:
                    yield transaction
                return
            if replace is not None:
                raise CollectionError("reencoding makes a commit of its own; call it outside the batch")
            try:
                yield self._open
            except OSError as error:
                self._failed = True
                raise self._not_changed(error) from error
            except BaseException:
                self._failed = True
                raise

    @contextlib.contextmanager
    def batch(self) -> Iterator[ChangeReport]:
        """Make one commit of all changes inside the block."""
        self._after_fork()
        with self._turn:
            if self._open is not None:
                raise CollectionError("a batch is open already; batches cannot be nested")
            try:
                with self._transaction() as transaction:
                    self._open, self._failed = transaction, False
                    try:
                        yield transaction.report
                    except OSError as error:  # of the caller's own doing: those of changes are errors of ours by now
                        raise _CallersError(error) from error
                    finally:
                        self._open = None
                    if self._failed:
                        raise CollectionError(
                            "the batch was discarded: a change in it failed, and its error was caught inside the block"
                        )
            except _CallersError as wrapped:
                raise wrapped.error  # noqa: B904 - it is passed on as it came

    @contextlib.contextmanager
    def _transaction(self, replace: Callable[[EncoderSlots], EncoderSlots] | None = None) -> Iterator[Transaction]:
        lock = WriterLock(self._state.directory / LOCK_NAME)
        try:
            with lock:
                yield from self._locked_transaction(replace, lock)
        finally:
            lock.release()  # once more, should an interrupt have come just then

    def _locked_transaction(
        self, replace: Callable[[EncoderSlots], EncoderSlots] | None, lock: WriterLock
    ) -> Iterator[Transaction]:
        directory = self._state.directory
        self._state.refresh()
        snapshot, slots = self._state.current()
        slots = slots if replace is None else replace(slots)
        writer = SegmentWriter(directory, self._settings, self._analyser, slots, progress=self._progress)
        transaction = Transaction(directory, snapshot.manifest, snapshot.segments, writer)
        try:
            remove_unnamed_parts(directory, snapshot.manifest)
            yield transaction
            self._state.expect(writer.slots)
            manifest = transaction.commit()
        except NotDurableError:
            # What was written is in effect; nothing is removed, for the state before may come back.
            with contextlib.suppress(OSError, StorageError, RetrievalError):
                self._state.refresh()
            raise
        except OSError as error:
            self._give_up(transaction, writer, lock)
            raise self._not_changed(error) from error
        except BaseException:
            self._give_up(transaction, writer, lock)
            raise
        # From here on the commit stands; what is no longer named can go, now or with the next writer.
        try:
            self._state.refresh()
        except (OSError, StorageError) as error:
            raise CollectionError(f"{directory} has changed, but cannot be opened again: {error}") from error
        with contextlib.suppress(OSError):
            remove_unnamed_parts(directory, manifest, durable=True)
        writer.finish()

    def _give_up(self, transaction: Transaction, writer: SegmentWriter, lock: WriterLock) -> None:
        """Remove what was written and keep what was encoded, unless the collection is no longer the one we locked."""
        if not lock.is_current():
            return
        transaction.discard()
        with contextlib.suppress(OSError, StorageError):
            writer.keep()
        with contextlib.suppress(OSError, StorageError, RetrievalError):
            self._state.refresh()  # an interrupt may have come after the commit, which then stands

    def _not_changed(self, error: OSError) -> CollectionError:
        place = f" ({error.filename})" if error.filename else ""
        return CollectionError(f"nothing was changed in {self._state.directory}: {error.strerror or error}{place}")

    def _after_fork(self) -> None:
        if self._process != os.getpid():
            # Neither the parent's lock nor its open batch belong to this process.
            self._process, self._turn, self._open = os.getpid(), threading.RLock(), None
