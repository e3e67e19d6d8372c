"""Indexes that somebody made to do harm: whatever is in them, an error or any answer, and nothing else.

Files and manifests are changed and signed again, so that every checksum fits, and then opened, searched, exported,
changed and compacted by a process with little memory and time (`tests.torture.crafted_use`). Promises broken are a
death by signal (a kernel that read out of bounds), a hang, an exception of a foreign kind, MemoryError, and a look at
anything outside the index. Links and pipes stand in the places of files and directories, too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from retrieval.staging import staging_key
from tests.torture import crafted_index, crafted_links
from tests.torture.outcome import MEMORY, Outcome, Profile

_ROOT = Path(__file__).parents[2]


def run(profile: Profile) -> list[Outcome]:
    """Use crafted indexes, and indexes with links in them."""
    from retrieval.encoders.base import fingerprint

    crafted = Outcome("crafted indexes", "indexes")
    linked = Outcome("links and pipes in an index", "indexes")
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="crafted-") as name:
        folder = Path(name)
        for inner in ("templates", "out", "elsewhere"):
            (folder / inner).mkdir()
        crafted_index.make_templates(folder / "templates")
        crafted_links.make_sentinel(folder / "sentinel")
        (folder / "staging-key").write_text(fingerprint(staging_key(crafted_index.encoder())))
        links = range(-len(crafted_links.CASES), 0)
        step = profile.pick(short=6, long=1)
        chosen = links[profile.seed % step :: step] if hasattr(os, "mkfifo") else []
        numbers = [*chosen, *range(profile.pick(short=80, long=4000))]
        while numbers:
            numbers = _use_until_death(folder, profile, numbers, crafted, linked)
    return [crafted, linked]


def _use_until_death(
    folder: Path, profile: Profile, numbers: list[int], crafted: Outcome, linked: Outcome
) -> list[int]:
    """Use indexes in a new process; returns the numbers that are left when it has died, behind what killed it."""
    seed = profile.seed
    # Kernels that compare every place with the bounds of its array turn a look beside it, which need not crash, into an
    # exception. They are compiled anew, into a folder of their own.
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(folder / "kernels")} if profile.name == "long" else {}
    command = [sys.executable, "-m", "tests.torture.crafted_use", str(folder), str(seed)]
    paths = os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    complaints = folder / "complaints"
    with complaints.open("w") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder / "elsewhere",
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **checked},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(numbers))
        process.stdin.close()
        used, what = 0, "starting"
        for line in process.stdout:
            said = json.loads(line)
            number = numbers[min(used, len(numbers) - 1)]
            outcome = crafted if number >= 0 else linked
            if "begin" in said:
                what = said["begin"]
                continue
            for broken in said["broken"]:
                outcome.fail(f"index {number} of seed {seed}, {what}: {broken}")
            if "end" in said:
                used, what = used + 1, "while it was crafted"
                outcome.tried += 1
                for answer in ("answered", "refused"):
                    outcome.notes[answer] = str(int(outcome.notes.get(answer, 0)) + said[answer])
        status = process.wait()
    if used < len(numbers):
        outcome = crafted if numbers[used] >= 0 else linked
        outcome.tried += 1
        said_last = " | ".join(complaints.read_text(errors="replace").splitlines()[:8])
        outcome.fail(f"index {numbers[used]} of seed {seed}, {what}: died ({_death(status)}): {said_last}")
        _clear(folder / "c")
    return numbers[used + 1 :] if what != "starting" else []


def _death(status: int) -> str:
    return signal.Signals(-status).name if status < 0 else f"status {status}, a hang where it says Timeout"


def _clear(directory: Path) -> None:
    if directory.is_dir() and not directory.is_symlink():
        shutil.rmtree(directory)
