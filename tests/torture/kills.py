"""Writers killed with SIGKILL: before every file operation, in the middle of every write, and at random times.

After each kill the last commit must be there, whole, and the next writer must clean up and finish the job.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from indexes.file_operations import Operation, watch
from retrieval import Collection
from tests.torture import harness, workload
from tests.torture.harness import Broken
from tests.torture.interrupted_encoding import kill_encoders
from tests.torture.outcome import Outcome, Profile
from tests.torture.workload import JOBS, State, check_directory, check_leftovers, document, open_again


def run(profile: Profile) -> list[Outcome]:
    """Run all of this module's attacks."""
    return harness.isolated(_run, profile)


def _run(profile: Profile) -> list[Outcome]:
    with harness.temporary_folder() as folder, harness.small_blocks():
        return [_every_operation(profile, folder), _random_times(profile, folder), kill_encoders(profile, folder)]


def killer(n: int, *, middle: bool) -> Callable[[Operation], None]:
    """Return an observer that kills this process before its n-th operation, or in the middle of that if it writes."""
    count, lock = iter(range(1 << 62)), threading.Lock()

    def observe(operation: Operation) -> None:
        with lock:
            if next(count) != n:
                return
            if middle and operation.kind == "write":
                descriptor = os.open(operation.path, os.O_WRONLY)
                os.pwrite(descriptor, bytes(operation.content)[: len(operation.content) // 2], operation.offset)
            os.kill(os.getpid(), signal.SIGKILL)

    return observe


def in_child(action: Callable[[], object]) -> int:
    """Run an action in a forked process, and return what became of it: minus the signal, or the exit code."""
    child = os.fork()
    if child == 0:
        code = 3
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# ------------------------------------------------------------------------------------------------ every file operation


def _every_operation(profile: Profile, folder: Path) -> Outcome:
    outcome = Outcome("writer killed at each file operation", "kills")
    before = workload.prepare(folder / "prepared")
    rng = np.random.default_rng(profile.seed)
    per_job = profile.pick(short=2, long=10**6)
    lost = leftovers = 0
    jobs = [(job.name, job.run, workload.after(job, before)) for job in JOBS]
    for name, change, after in [("create", None, State(0, ())), *jobs]:

        def act(path: Path, change: Callable[[Collection], object] | None = change) -> None:
            change(open_again(path)) if change else workload.create(path)

        def fresh(change: Callable[[Collection], object] | None = change) -> Path:
            path = folder / "tried" / "c"
            shutil.rmtree(path.parent, ignore_errors=True)
            if change:
                shutil.copytree(folder / "prepared", path)
            return path

        path = fresh()
        operations = harness.recorded(lambda path=path, act=act: act(path))
        commit = harness.commit_of(operations)
        tries = [(n, False) for n in range(len(operations))]
        tries += [(n, True) for n, operation in enumerate(operations) if operation.kind == "write"]
        for number in harness.sample(rng, len(tries), per_job):
            n, middle = tries[number]
            path = fresh()
            outcome.tried += 1
            try:
                _kill_and_check(path, act, n, middle=middle, wanted=(after if n > commit else before, after))
            except Exception as error:
                lost += not str(error).startswith("left over")
                leftovers += str(error).startswith("left over")
                outcome.fail(f"{name}, killed {'in' if middle else 'before'} operation {n}: {error!r}")
    outcome.notes = {"commits lost": str(lost), "leftovers": str(leftovers)}
    return outcome


def _kill_and_check(
    path: Path, act: Callable[[Path], None], n: int, *, middle: bool, wanted: tuple[State, State]
) -> None:
    def change() -> None:
        with watch(killer(n, middle=middle)):
            act(path)

    state, after = wanted
    code = in_child(change)
    if code != -signal.SIGKILL:
        raise Broken(f"the writer was not killed but ended with {code}")
    if state is not after and not after.generation:
        if not workload.is_nothing(path):
            raise Broken("half a collection")
        workload.create(path)
    else:
        check_directory(path, [state])
        if state is after:  # nothing is left to do; any writer cleans up
            open_again(path).upsert(list(after.documents[:1]))
        else:
            act(path)
    check_directory(path, [after])
    # A killed writer's encoded passages wait for the next one that encodes.
    check_leftovers(path, staged=state is after)


# -------------------------------------------------------------------------------------------------------- random times


def _random_times(profile: Profile, folder: Path) -> Outcome:
    outcome = Outcome("writer killed at a random time", "kills")
    path = folder / "random" / "c"
    workload.create(path)
    rng = np.random.default_rng([profile.seed, 1])
    state, step, commits, lost = State(0, ()), 0, 0, 0
    for _ in range(profile.pick(short=12, long=250)):
        outcome.tried += 1
        try:
            finished = _kill_after(float(rng.uniform(0.0, 0.3)), path, step)
            for number in range(step, step + finished):
                state = _next(state, number)
            step += finished
            commits += finished
            found = check_directory(path, [state, _next(state, step)])
            if found != state:
                state, step = found, step + 1
            if step > 400:  # start afresh: a long history is not the point here
                shutil.rmtree(path)
                workload.create(path)
                state, step = State(0, ()), 0
        except Exception as error:
            lost += 1
            outcome.fail(f"seed {profile.seed}, kill {outcome.tried}, after step {step}: {error!r}")
            shutil.rmtree(path)
            workload.create(path)
            state, step = State(0, ()), 0
    try:
        open_again(path).add(document(10**6))
        check_leftovers(path)
    except Exception as error:
        outcome.fail(f"seed {profile.seed}, at the end: {error!r}")
    outcome.notes = {"commits acknowledged": str(commits), "commits lost": str(lost)}
    return outcome


def _kill_after(seconds: float, path: Path, step: int) -> int:
    """Let a child commit from this step on, kill it, and return how many commits it reported."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            collection = open_again(path)
            for number in range(step, 1 << 30):
                _commit(collection, number)
                os.write(writing, b".")
        finally:
            os._exit(3)
    os.close(writing)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with os.fdopen(reading, "rb") as pipe:
        finished = len(pipe.read())
    if code != -signal.SIGKILL:
        raise RuntimeError(f"the writer failed after step {step + finished}")
    return finished


def _changes(step: int) -> tuple[list[int], list[int]]:
    """Return the documents that a step writes and those that it deletes; every step changes something."""
    rng = np.random.default_rng([77, step])
    return rng.permutation(40)[: rng.integers(1, 6)].tolist(), rng.permutation(40)[: rng.integers(0, 5)].tolist()


def _commit(collection: Collection, step: int) -> None:
    written, deleted = _changes(step)
    with collection.batch():
        collection.delete([f"d{number}" for number in deleted])
        collection.upsert([document(number, 100 + step) for number in written])
        if step % 7 == 3:
            collection.compact()
        elif step % 7 == 5:
            collection.optimize("hnsw")


def _next(state: State, step: int) -> State:
    written, deleted = _changes(step)
    gone = {f"d{number}" for number in deleted}
    kept = [stored for stored in state.documents if stored.id not in gone]
    documents = workload.put(kept, [document(number, 100 + step) for number in written])
    return State(state.generation + 1, tuple(documents))
