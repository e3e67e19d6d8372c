"""Ctrl-C while a collection is being changed: at file operations, and at random times in between.

The state is that before or after, the same object goes on, and its lock is free.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np

from indexes.file_operations import Operation, watch
from retrieval import Collection
from tests.torture import harness, workload
from tests.torture.harness import Broken, copy_of
from tests.torture.outcome import Outcome, Profile
from tests.torture.workload import JOBS, State, check_directory, check_leftovers, check_open, open_again


def interrupted(profile: Profile, folder: Path, before: State) -> list[Outcome]:
    """Interrupt changes to copies of `folder/prepared`."""
    outcomes = [_at_operations(profile, folder, before)]
    if hasattr(signal, "setitimer"):
        outcomes.append(_at_random_times(profile, folder, before))
    return outcomes


def _at_operations(profile: Profile, folder: Path, before: State) -> Outcome:
    outcome = Outcome("interrupted at a file operation", "interrupts")
    rng = np.random.default_rng([profile.seed, 5])
    for job in JOBS[:: profile.pick(short=3, long=1)]:
        operations = workload.operations_of(folder, job.run)
        commit, after = harness.commit_of(operations), workload.after(job, before)
        for n in harness.sample(rng, len(operations), profile.pick(short=1, long=25)):
            outcome.tried += 1
            try:
                _interrupt(copy_of(folder), job.run, n, before if n <= commit else after, after)
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
    check_open(collection, [state])
    _go_on(path, collection, change, state, after)


def _at_random_times(profile: Profile, folder: Path, before: State) -> Outcome:
    outcome = Outcome("interrupted at a random time", "interrupts")
    rng = np.random.default_rng([profile.seed, 6])
    for number in range(profile.pick(short=10, long=400)):
        job = JOBS[number % len(JOBS)]
        after = workload.after(job, before)
        after.answers()
        path = copy_of(folder)
        collection = open_again(path)
        outcome.tried += _hit_by_timer(lambda job=job, collection=collection: job.run(collection), rng)
        try:
            state = check_directory(path, [before, after])
            _go_on(path, collection, job.run, state, after)
        except Exception as error:
            outcome.fail(f"seed {profile.seed}, {job.name}, interrupt {number}: {error!r}")
    return outcome


def _hit_by_timer(change: Callable[[], object], rng: np.random.Generator) -> bool:
    """Run a change until a timer interrupts it; tell whether that was before its end."""
    armed = [True]

    def interrupt(number: int, frame: object) -> None:
        if armed:  # a timer that fires between the end of the change and its own end must hit nothing else
            raise KeyboardInterrupt

    usual = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, float(rng.uniform(0.0005, 0.1)))
        change()
        armed.clear()
    except KeyboardInterrupt:
        return True
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)
    return False


def _go_on(
    path: Path, collection: Collection, change: Callable[[Collection], object], state: State, after: State
) -> None:
    """Check the object and the directory, and do what is left to do with the same object."""
    check_directory(path, [state])
    if state is not after:
        change(collection)
    else:
        collection.upsert(list(after.documents[:1]))
    check_open(collection, [after])
    check_leftovers(path, staged=True)
