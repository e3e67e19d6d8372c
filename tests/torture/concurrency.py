"""One writer and four readers on one collection, every answer compared with what its generation must say.

The writer works through a `History`. A reader finds out from the marker document which step it sees, repeats the
history up to there, and computes each answer itself. In the end the writer's log says which (generation, step,
encoder) were committed: a reader that saw another one saw a state that never was.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

from retrieval import Collection, Document
from tests.retrieval.collection_oracle import WORDS, encoder
from tests.torture.concurrent_roles import COUNTS, FINISHED, PATIENCE, READY, ReaderProcess, WriterProcess
from tests.torture.lock_contention import attack_lock
from tests.torture.outcome import MEMORY, Outcome, Profile

N_READERS = 4
_ROOT = Path(__file__).parents[2]


def run(profile: Profile) -> list[Outcome]:
    """Let readers and a writer work side by side, then let writers fight for the lock."""
    return [_readers_beside_a_writer(profile), attack_lock(profile)]


def _readers_beside_a_writer(profile: Profile) -> Outcome:
    outcome = Outcome("four readers beside a writer", unit="searches compared")
    seconds = profile.pick(short=4, long=600)
    folder = Path(tempfile.mkdtemp(prefix="torture-", dir=MEMORY))
    try:
        command = [sys.executable, "-m", "tests.torture.concurrency", str(folder), str(profile.seed), str(seconds)]
        # With one thread, for the process forks.
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        nursery = subprocess.Popen(command, cwd=_ROOT, env=environment, start_new_session=True)
        try:
            nursery.wait(seconds + 3 * PATIENCE)
        except subprocess.TimeoutExpired:
            outcome.fail(f"seed {profile.seed}: a process did not end")
            os.killpg(nursery.pid, signal.SIGKILL)
            nursery.wait()
        writer, *readers = [_answer(folder, number, outcome) for number in range(1 + N_READERS)]
        _compare(writer, readers, outcome)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _answer(folder: Path, number: int, outcome: Outcome) -> dict[str, Any]:
    try:
        return json.loads((folder / f"answer-{number}").read_bytes())
    except (OSError, ValueError) as error:
        outcome.fail(f"{_name(number)} died without an answer: {error}")
        return {"states": [], "errors": [], **dict.fromkeys(COUNTS, 0)}


def _name(number: int) -> str:
    return f"reader {number}" if number else "the writer"


def _compare(writer: dict[str, Any], readers: list[dict[str, Any]], outcome: Outcome) -> None:
    committed = set(map(tuple, writer["states"]))
    for number, reader in enumerate([writer, *readers]):
        for error in reader["errors"]:
            outcome.fail(f"{_name(number)}: {error}")
        for state in set(map(tuple, reader["states"])) - committed:
            outcome.fail(f"{_name(number)} saw (generation, step, encoder) {state}, which was never committed")
        if not committed or max(committed) not in map(tuple, reader["states"]):
            outcome.fail(f"{_name(number)} did not see the last commit")
    outcome.tried = sum(reader["searches"] for reader in readers)
    seen = set().union(*(map(tuple, reader["states"]) for reader in readers))
    outcome.notes = {
        "commits": f"{len(committed):,}",
        "generations seen": f"{len(seen):,}",
        "refreshes": f"{sum(reader['refreshes'] for reader in readers):,}",
        "opened anew": f"{sum(reader['opened'] for reader in readers):,}",
        "old snapshots held and searched": f"{sum(reader['held'] for reader in readers):,}",
        "verified beside the writer": f"{sum(reader['verified'] for reader in readers):,}",
    }


def main(folder: Path, seed: int, seconds: int) -> None:
    """Load the libraries once, then fork the writer and the readers and wait for them."""
    with Collection.create(folder / "warm", encoder=encoder()) as collection:
        collection.add([Document(f"d{number}", WORDS[number % 8]) for number in range(300)])
        collection.optimize("hnsw")
        collection.search("owl")
    children = []
    for number in range(1 + N_READERS):
        child = os.fork()
        if not child:
            try:
                answer = json.dumps(_work(folder, seed, seconds, number))
                (folder / f"answer-{number}").write_text(answer)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)


def _work(folder: Path, seed: int, seconds: int, number: int) -> dict[str, Any]:
    process: WriterProcess | ReaderProcess | None = None
    errors = []
    try:
        if number:
            process = ReaderProcess(folder, seed, seconds, number)
        else:
            process = WriterProcess(folder, seed, seconds, N_READERS)
        process.run()
    except Exception:
        errors.append(traceback.format_exc()[-3000:])
    finally:
        # Nobody waits for one that failed.
        (folder / (f"{READY}{number}" if number else FINISHED)).touch()
    counts = process.counts if isinstance(process, ReaderProcess) else {}
    return {"states": sorted(process.states) if process else [], "errors": errors, **counts}


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
