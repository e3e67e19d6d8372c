"""What the attacks on a collection's surroundings check: one clear error, and nothing changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from indexes.errors import StorageError
from retrieval import Collection
from retrieval.errors import CollectionError
from tests.torture import workload
from tests.torture.harness import Broken
from tests.torture.workload import JOBS, State, check_directory, check_leftovers, check_open


class Skipped(Exception):
    """The system does not allow this."""


def refused(path: Path, change: Callable[[], object], reason: str, *kinds: type[Exception]) -> None:
    """Check that a change fails in one line with one of our errors, naming where and why."""
    expected = kinds or (CollectionError, StorageError)
    try:
        change()
    except expected as error:
        if reason not in str(error) or (not kinds and str(path) not in str(error)) or "\n" in str(error):
            raise Broken(f"the message does not say where or why: {error}") from error
        return
    raise Broken("the change succeeded")


def unchanged(path: Path, before: State, collection: Collection) -> None:
    """Check that nothing has changed, that no leftovers are there, and that the object can still be used."""
    check_open(collection, [before])
    check_directory(path, [before])
    check_leftovers(path, staged=True)
    job = JOBS[0]
    job.run(collection)
    check_directory(path, [workload.after(job, before)])


def in_child(action: Callable[[], object]) -> None:
    """Run an action in a forked process; raises Broken with what went wrong there."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException as error:
            os.write(writing, repr(error).encode()[:4000])
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        told = pipe.read()
    os.waitpid(child, 0)
    if told.startswith("Skipped"):
        raise Skipped
    if told:
        raise Broken(told)
