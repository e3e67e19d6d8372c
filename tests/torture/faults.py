"""File operations that fail: full disks, read-only ones, broken ones; at every operation, once and from there on.

A call that fails says so in one clear error, and nothing has changed; the same object answers on and can try again.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from indexes.errors import NotDurableError, StorageError
from indexes.file_operations import Operation, watch
from retrieval import Collection
from retrieval.errors import CollectionError
from tests.torture import harness, workload
from tests.torture.harness import Broken
from tests.torture.outcome import Outcome, Profile
from tests.torture.surroundings import in_surroundings
from tests.torture.workload import (
    JOBS,
    State,
    answers,
    check_directory,
    check_leftovers,
    check_open,
    open_again,
)

REASONS = (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS, errno.EDQUOT)


def run(profile: Profile) -> list[Outcome]:
    """Run all of this module's attacks."""
    return harness.isolated(_run, profile)


def _run(profile: Profile) -> list[Outcome]:
    with harness.temporary_folder() as folder, harness.small_blocks():
        before = workload.prepare(folder / "prepared")
        outcomes = [_every_operation(profile, folder, before), _interrupts(profile, folder, before)]
        return [*outcomes, in_surroundings(profile, folder, before)]


def failing(n: int, reason: int, *, lasting: bool) -> Callable[[Operation], None]:
    """Return an observer that fails the n-th operation, or all from that on."""
    counted, lock = -1, threading.Lock()

    def observe(operation: Operation) -> None:
        nonlocal counted
        with lock:
            counted += 1
            fails = counted >= n if lasting else counted == n
        if fails:
            raise OSError(reason, os.strerror(reason), str(operation.path))

    return observe


def message_of(error: Exception, path: Path, reason: str) -> None:
    """Check that an error is one of those that a user should meet, and says where and why."""
    if not isinstance(error, CollectionError | StorageError):
        raise Broken(f"a foreign error: {error!r}")
    if str(path) not in str(error) or reason not in str(error) or "\n" in str(error):
        raise Broken(f"the message does not say where or why: {error}")


def _every_operation(profile: Profile, folder: Path, before: State) -> Outcome:
    outcome = Outcome("a file operation fails", "failures")
    rng = np.random.default_rng([profile.seed, 4])
    kept = 0
    jobs: list[tuple[str, Callable[[Collection], object] | None, State]]
    jobs = [("create", None, State(0, ())), *((job.name, job.run, workload.after(job, before)) for job in JOBS)]
    for name, change, after in jobs:
        operations = _operations(folder, change)
        tries = [(n, lasting) for n in range(len(operations)) for lasting in (False, True)]
        for number in harness.sample(rng, len(tries), profile.pick(short=2, long=10**6)):
            n, lasting = tries[number]
            reason = REASONS[(n + lasting) % len(REASONS)]
            outcome.tried += 1
            fault = failing(n, reason, lasting=lasting)
            try:
                path = _fresh(folder, created=change is None)
                if change is None:
                    kept += _fail_creating(path, fault, reason)
                else:
                    kept += _fail(path, change, fault, reason, before, after)
            except Exception as error:
                place = f"operation {n} ({operations[n].kind} {operations[n].path.name})"
                place += " and all after it" if lasting else ""
                outcome.fail(f"{name}, {errno.errorcode[reason]} at {place}: {error!r}")
    outcome.notes = {"calls that succeeded nevertheless": str(kept)}
    return outcome


def _fresh(folder: Path, *, created: bool = False) -> Path:
    path = folder / "tried" / "c"
    shutil.rmtree(path.parent, ignore_errors=True)
    path.parent.mkdir()
    if not created:
        shutil.copytree(folder / "prepared", path)
    return path


def _operations(folder: Path, change: Callable[[Collection], object] | None) -> list[Operation]:
    path = _fresh(folder, created=change is None)
    if change is None:
        return harness.recorded(lambda: workload.create(path))
    collection = open_again(path)
    return harness.recorded(lambda: change(collection))


def _fail(
    path: Path,
    change: Callable[[Collection], object],
    fault: Callable[[Operation], None],
    reason: int,
    before: State,
    after: State,
) -> bool:
    """Let a change fail, check everything, repeat it; returns whether it succeeded in spite of the fault."""
    collection = open_again(path)
    answers(collection)
    state, succeeded = before, False
    try:
        with watch(fault):
            change(collection)
        state, succeeded = after, True  # what failed was only the clearing up
    except NotDurableError as error:
        message_of(error, path, os.strerror(reason))
        state = after
    except Exception as error:
        message_of(error, path, os.strerror(reason))
    check_open(collection, [state])
    check_directory(path, [state])
    if state is before:
        change(collection)
    else:
        collection.upsert(list(after.documents[:1]))
    check_open(collection, [after])
    check_directory(path, [after])
    check_leftovers(path, staged=state is after)
    return succeeded


def _fail_creating(path: Path, fault: Callable[[Operation], None], reason: int) -> bool:
    nothing = True
    try:
        with watch(fault):
            workload.create(path)
        raise Broken("create() succeeded")
    except NotDurableError as error:
        message_of(error, path, os.strerror(reason))
        nothing = False
    except Broken:
        raise
    except Exception as error:
        message_of(error, path, os.strerror(reason))
    if workload.is_nothing(path) != nothing:
        raise Broken("half a collection, or none though it was only not durable")
    Collection.open_or_create(path, encoder=workload.encoder())
    check_directory(path, [State(0, ())])
    check_leftovers(path)
    return False


def _interrupts(profile: Profile, folder: Path, before: State) -> Outcome:
    """Ctrl-C at any operation: the state before or after, never one in between."""
    outcome = Outcome("interrupted from the keyboard", "interrupts")
    rng = np.random.default_rng([profile.seed, 5])
    for job in JOBS[:: profile.pick(short=3, long=1)]:
        operations = _operations(folder, job.run)
        commit, after = harness.commit_of(operations), workload.after(job, before)
        for n in harness.sample(rng, len(operations), profile.pick(short=1, long=25)):
            outcome.tried += 1
            try:
                _interrupt(_fresh(folder), job.run, n, before if n <= commit else after, after)
            except Exception as error:
                outcome.fail(f"{job.name}, interrupted at operation {n}: {error!r}")
    return outcome


def _interrupt(path: Path, change: Callable[[Collection], object], n: int, state: State, after: State) -> None:
    collection = open_again(path)
    seen = -1

    def interrupt(operation: Operation) -> None:
        nonlocal seen
        seen += 1
        if seen == n:
            raise KeyboardInterrupt

    try:
        with watch(interrupt):
            change(collection)
        raise Broken("the interrupt was swallowed")
    except KeyboardInterrupt:
        pass
    tuple(collection)  # it answers, from before or after
    check_directory(path, [state])
    if state is not after:
        change(collection)
    else:
        collection.upsert(list(after.documents[:1]))
    check_open(collection, [after])
    check_leftovers(path, staged=state is after)
