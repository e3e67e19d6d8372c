"""Two writers and more: the lock is the kernel's, says who holds it, dies with its holder and loses no commit."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path

from indexes.errors import LockedError
from retrieval import Collection, Document
from tests.torture.outcome import MEMORY, Outcome, Profile

_ROOT = Path(__file__).parents[2]
_AT_ONCE = 2.0
"""Seconds that a refusal may take on a busy machine; a writer that waited for the lock would take forever."""


def attack_lock(profile: Profile) -> Outcome:
    """Kill holders of the lock, write rubbish into its file, and let many writers compete."""
    rounds = profile.pick(short=4, long=200)
    outcome = Outcome("writers against writers", unit="writes attempted")
    folder = Path(tempfile.mkdtemp(prefix="torture-", dir=MEMORY))
    try:
        command = [sys.executable, "-m", "tests.torture.lock_contention", str(folder), str(profile.seed), str(rounds)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # with one thread, for the process forks
        referee = subprocess.Popen(command, cwd=_ROOT, env=environment, start_new_session=True)
        try:
            referee.wait(60 + 5 * rounds)
        except subprocess.TimeoutExpired:
            os.killpg(referee.pid, signal.SIGKILL)
            referee.wait()
        answer = json.loads((folder / "answer").read_bytes())
        outcome.tried, outcome.notes = answer["tried"], answer["notes"]
        for error in answer["errors"]:
            outcome.fail(error)
    except (OSError, ValueError) as error:
        outcome.fail(f"seed {profile.seed}: no answer: {error}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


class Referee:
    """Starts holders and competitors and compares what they did with what is there.

    Args:
        folder: where the collection is made.
        seed: of the competitors' waiting.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self._path = folder / "collection"
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._seed = seed
        self._collection = Collection.create(self._path, encoder=None)
        self._collection.add(Document("first", "owl"))
        self._expected = {"first"}
        self.tried = 0
        self.notes: dict[str, str] = {}

    def kill_holders(self, rounds: int) -> None:
        """Meet a holder, be refused, kill it, and write at once."""
        slowest = 0.0
        for number in range(rounds):
            holder, worker, told = self._start_holder(with_worker=number % 2 == 1)
            try:
                assert told.startswith("LockedError") or not worker, f"a forked worker of the holder: {told}"
                assert f"process {holder} " in told or not worker, f"a forked worker was told {told!r}, not {holder}"
                slowest = max(slowest, self._be_refused(holder))
                assert set(Collection.open(self._path).ids()) == self._expected, "a reader saw an open batch"
                os.kill(holder, signal.SIGKILL)
                os.waitpid(holder, 0)
                self._spoil_lock_file(number)
                # The holder's worker is still alive here.
                self._collection.add(Document(f"after-{number}", "night owl"))
                self._expected.add(f"after-{number}")
                self.tried += 1
                self._check(f"round {number}")
            finally:
                _kill(holder)
                _kill(worker)
        self.notes |= {"holders killed": f"{rounds:,}", "slowest refusal": f"{1000 * slowest:.0f} ms"}

    def _start_holder(self, *, with_worker: bool) -> tuple[int, int, str]:
        """Fork a process that stays inside a batch; returns its number, its worker's, and what that was told."""
        reading, writing = os.pipe()
        holder = os.fork()
        if not holder:
            _child(lambda: self._hold(writing, with_worker=with_worker))
        os.close(writing)
        with os.fdopen(reading) as pipe:
            worker, told = pipe.readline().rstrip("\n").split(" ", 1)
        return holder, int(worker), told

    def _hold(self, pipe: int, *, with_worker: bool) -> None:
        collection = Collection.open(self._path)
        with collection.batch():
            collection.add([Document(f"held-{number}", "never to be seen") for number in range(50)])
            collection.delete("first")
            worker = os.fork() if with_worker else 0
            if worker:
                signal.pause()
            told = _attempt(lambda: collection.add(Document("worker", "owl"))) if with_worker else "no worker"
            os.write(pipe, f"{os.getpid() if with_worker else 0} {told}\n".encode())
            os.close(pipe)
            signal.pause()

    def _be_refused(self, holder: int) -> float:
        """Try every kind of change; returns how long the slowest refusal took."""
        collection, slowest = self._collection, 0.0
        attempts: list[Callable[[], object]] = [
            lambda: collection.add(Document("second", "owl")),
            lambda: collection.upsert(Document("first", "fly")),
            lambda: collection.delete("first"),
            lambda: collection.delete(where="year > 2000"),
            collection.compact,
            lambda: collection.optimize("exact"),
            collection.batch().__enter__,
        ]
        for attempt in attempts:
            start = time.monotonic()
            told = _attempt(attempt)
            slowest = max(slowest, time.monotonic() - start)
            assert told.startswith("LockedError"), f"a second writer beside process {holder}: {told}"
            assert f"process {holder} " in told, f"the message {told!r} does not name process {holder}"
            self.tried += 1
        assert slowest < _AT_ONCE, f"the second writer failed only after {slowest:.1f} s"
        return slowest

    def _spoil_lock_file(self, number: int) -> None:
        """Leave something in the lock file that a dead process might have left, or worse."""
        contents = [None, b"", f"process {os.getpid()} on {os.uname().nodename}\n".encode(), os.urandom(1 << 16), b"1"]
        content = contents[number % len(contents)]
        if content is not None:
            (self._path / "writer.lock").write_bytes(content)

    def compete(self, writers: int, commits: int) -> None:
        """Let processes commit as often as they can get the lock; every commit that succeeded must be there."""
        children = [os.fork() or _child(partial(self._competitor, number, commits)) for number in range(writers)]
        for child in children:
            os.waitpid(child, 0)
        refused = 0
        for number in range(writers):
            log = (self._logs / str(number)).read_text().split()
            died = not log or not log[-1].startswith("refused:")
            assert not died, f"writer {number} of {writers} failed after {len(log)} of {commits} commits"
            refused += int(log.pop().removeprefix("refused:"))
            self._expected.update(log)
        self._collection.refresh()
        self._check(f"{writers} writers, {commits} commits each")
        self.tried += refused + writers * commits
        self.notes |= {"competing commits": f"{writers * commits:,}", "refused": f"{refused:,}"}

    def _competitor(self, number: int, commits: int) -> None:
        draw = random.Random(1000 * self._seed + number)
        refused = 0
        with (self._logs / str(number)).open("w") as log:
            collection = Collection.open(self._path)
            for commit in range(commits):
                name = f"writer-{number}-{commit}"
                while True:
                    try:
                        collection.add(Document(name, "owl night"))
                        break
                    except LockedError:
                        refused += 1
                        time.sleep(draw.random() / 100)
                log.write(f"{name}\n")
                log.flush()
            log.write(f"refused:{refused}\n")

    def _check(self, when: str) -> None:
        found = list(self._collection.ids())
        assert len(found) == len(set(found)), f"{when}: a document is there twice"
        missing, surplus = self._expected - set(found), set(found) - self._expected
        assert not missing and not surplus, f"{when}: missing {sorted(missing)[:5]}, surplus {sorted(surplus)[:5]}"
        report = self._collection.verify()
        assert report.ok and not report.leftovers, f"{when}: {report.problems[:3]}, left over {report.leftovers[:3]}"


def _attempt(change: Callable[[], object]) -> str:
    try:
        change()
    except Exception as error:
        return f"{type(error).__name__}: {error}".replace("\n", " ")
    return "it succeeded"


def _child(work: Callable[[], None]) -> int:
    """Do a forked process's work; never returns into its parent's."""
    try:
        work()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _kill(process: int) -> None:
    if process:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it is dead already, or its parent is
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def main(folder: Path, seed: int, rounds: int) -> None:
    """Be the referee, and write what happened as JSON."""
    referee, errors = Referee(folder, seed), []
    try:
        referee.kill_holders(rounds)
        referee.compete(writers=6, commits=2 * rounds)
    except Exception:
        errors.append(f"seed {seed}: {traceback.format_exc()[-3000:]}")
    (folder / "answer").write_text(json.dumps({"tried": referee.tried, "notes": referee.notes, "errors": errors}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
