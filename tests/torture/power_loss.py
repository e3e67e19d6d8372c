"""The power fails: a history of commits is recorded, replayed on a simulated disk, and cut at any of its operations.

What comes back must be a committed state, and none before the last commit whose call had returned.
"""

from __future__ import annotations

import os
import pickle
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from indexes.file_operations import Operation, watch
from retrieval import Collection
from retrieval.collection.manifest_file import MANIFEST_NAME, read_manifest
from tests.torture import harness, workload
from tests.torture.harness import Broken
from tests.torture.outcome import Outcome, Profile
from tests.torture.simulated_disk import WAYS, Image, SimulatedDisk
from tests.torture.workload import State, check_directory, check_leftovers, document, encoder, open_again

_PLACE = Path("above") / "collections" / "c"  # several directories that must become durable, too
_AFTER_COMMIT = -1  # killed when the manifest has been replaced and that is not durable yet


@dataclass
class Step:
    """A call of the history.

    Attributes:
        name: of the call.
        operations: what it did to the disk.
        state: what is committed when it returns.
        killed: whether it did not return.
    """

    name: str
    operations: list[Operation]
    state: State
    killed: bool = False


def run(profile: Profile) -> list[Outcome]:
    """Run this module's attack."""
    return harness.isolated(_run, profile)


def _run(profile: Profile) -> list[Outcome]:
    outcome = Outcome("power loss during a history of commits", "power losses")
    with harness.temporary_folder() as folder, harness.small_blocks():
        rng = np.random.default_rng([profile.seed, 3])
        for number in range(profile.pick(short=1, long=4)):
            root = folder / f"history-{number}"
            root.mkdir()
            history = _History(root, rng)
            steps = history.record()
            total = sum(len(step.operations) for step in steps)
            cuts = set(harness.sample(rng, total, profile.pick(short=20, long=10**6 if number == 0 else 150)))
            _cut_everywhere(outcome, steps, root, cuts | _first_removals(steps), profile, rng)
    return [outcome]


# --------------------------------------------------------------------------------------------------------- the history


class _History:
    """Records calls, some of them killed on the way and repeated by the next writer."""

    def __init__(self, root: Path, rng: np.random.Generator) -> None:
        self._path = root / _PLACE
        self._rng = rng
        self._steps: list[Step] = []
        self._state = State(-1, ())

    def record(self) -> list[Step]:
        """Return the steps, from `create` on."""
        self._call("create", lambda: workload.create(self._path), (), kill=7)
        for n in range(3):
            new = [document(10 * n + k) for k in range(8)]
            self._change("add", lambda c, new=new: c.upsert(new), workload.put(self._documents, new), kill=60 * n)
        new = [document(k, 3) for k in (1, 12, 40)]
        self._change("update", lambda c: c.upsert(new), workload.put(self._documents, new), kill=150)
        new = [document(k, 4) for k in (2, 13)]
        self._change("update", lambda c: c.upsert(new), workload.put(self._documents, new), kill=_AFTER_COMMIT)
        self._change("optimize", lambda c: c.optimize("int8"), self._documents)
        gone = {"d3", "d40"}
        kept = [stored for stored in self._documents if stored.id not in gone]
        self._change("delete", lambda c: c.delete(gone), kept)
        self._change("compact", lambda c: c.compact(), kept, kill=120)
        self._change("reencode", lambda c: c.reencode(encoder(2)), kept, version=2, kill=160)
        return self._steps

    @property
    def _documents(self) -> list:
        return list(self._state.documents)

    def _change(
        self,
        name: str,
        change: Callable[[Collection], object],
        documents: list,
        *,
        version: int = 1,
        kill: int = 0,
    ) -> None:
        self._call(name, lambda: change(open_again(self._path)), tuple(documents), version=version, kill=kill)

    def _call(
        self, name: str, call: Callable[[], object], documents: tuple, *, version: int = 1, kill: int = 0
    ) -> None:
        state = State(self._state.generation + 1, documents, version)
        if kill:
            last = int(self._rng.integers(1, kill)) if kill > 0 else kill
            self._steps.append(Step(f"{name}, killed", _recorded_until(last, call), state, killed=True))
        if name != "create" or not (self._path / MANIFEST_NAME).exists():
            self._steps.append(Step(name, harness.recorded(call), state))
        # A killed call may have made its commit, and the same call once more may make another.
        self._state = self._steps[-1].state = replace(state, generation=read_manifest(self._path).generation)


def _recorded_until(last: int, call: Callable[[], object]) -> list[Operation]:
    """Return the operations of a child that is killed after so many, or right after the commit."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        seen = 0

        def tell(operation: Operation) -> None:
            nonlocal seen
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
            committed = operation.target is not None and operation.target.name == MANIFEST_NAME
            seen = last if committed and last == _AFTER_COMMIT else seen + 1
            fields = (operation.kind, operation.path, operation.target, operation.offset, bytes(operation.content))
            content = pickle.dumps(fields)
            os.write(writing, len(content).to_bytes(8, "little") + content)

        try:
            with watch(tell):
                call()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.close(writing)
    operations = []
    with os.fdopen(reading, "rb") as pipe:
        while size := int.from_bytes(pipe.read(8), "little"):
            operations.append(Operation(*pickle.loads(pipe.read(size))))
    os.waitpid(child, 0)
    return operations


# ------------------------------------------------------------------------------------------------------------ the cuts


def _first_removals(steps: list[Step]) -> set[int]:
    """Return where each call has just removed its first part: what it was needed for must be gone for good by then."""
    cuts, start = set(), 0
    for step in steps:
        removals = [n for n, operation in enumerate(step.operations) if operation.kind == "remove_directory"]
        cuts |= {start + n + 1 for n in removals[:1]}
        start += len(step.operations)
    return cuts


def _cut_everywhere(
    outcome: Outcome, steps: list[Step], root: Path, cuts: set[int], profile: Profile, rng: np.random.Generator
) -> None:
    disk = SimulatedDisk(root)
    tried: set[tuple[bytes, int]] = set()
    number, returned = 0, -1
    states: list[State] = []
    for step in steps:
        states.append(step.state)
        for operation in [*step.operations, None]:
            if number in cuts or operation is None:
                for way in [*WAYS, *["random"] * profile.pick(short=2, long=3)]:
                    image = disk.after_power_loss(way, rng)
                    outcome.tried += 1
                    if (key := (image.digest(), returned)) in tried:
                        continue
                    tried.add(key)
                    try:
                        _check(root.parent / "cut", image, returned, states, go_on=len(tried) % 8 == 0)
                    except Exception as error:
                        outcome.fail(
                            f"seed {profile.seed}, {step.name}, before operation {number} "
                            f"({operation.kind if operation else 'none'}), {way}: {error!r}"
                        )
            if operation is not None:
                disk.apply(operation)
                number += 1
        if not step.killed:
            returned, states = step.state.generation, [step.state]
            _check_returned(outcome, disk, root, step, rng)
    outcome.notes = {"different disks": str(int(outcome.notes.get("different disks", "0")) + len(tried))}


def _check_returned(outcome: Outcome, disk: SimulatedDisk, root: Path, step: Step, rng: np.random.Generator) -> None:
    """What a call has returned is there without anything that was not synced."""
    outcome.tried += 1
    try:
        image = disk.after_power_loss("nothing unsynced", rng)
        _check(root.parent / "cut", image, step.state.generation, [step.state], go_on=True)
    except Exception as error:
        outcome.fail(f"{step.name} had returned: {error!r}")


def _check(folder: Path, image: Image, returned: int, states: list[State], *, go_on: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    image.materialise(folder)
    path = folder / _PLACE
    if returned < 0 and workload.is_nothing(path):
        if go_on:
            workload.create(path)
            check_directory(path, [State(0, ())])
        return
    state = check_directory(path, states)
    if state.generation < returned:
        raise Broken(f"generation {state.generation} came back, {returned} was committed")
    if go_on:
        open_again(path).upsert(document(900, state.generation))
        check_leftovers(path, staged=True)
        documents = (*state.documents, document(900, state.generation))
        check_directory(path, [State(state.generation + 1, documents, state.version)])
