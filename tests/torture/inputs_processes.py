"""Inputs that may end a process: damaged tables for native code, bombs under a limit, files without permission."""

from __future__ import annotations

import gzip
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.torture.outcome import Outcome, Profile

_ROOT = Path(__file__).parents[2]
_SECONDS = 240
_MEBIBYTE = 1024 * 1024


def attack_in_processes(profile: Profile, folder: Path) -> Outcome:
    """Run the cases of `tests.torture.inputs_worker`, each in a process of its own."""
    outcome = Outcome("tables, bombs and odd paths, in processes", "inputs")
    for kind in ("parquet", "arrow", "stream")[: profile.pick(short=2, long=3)]:
        _attack_tables(outcome, profile, folder, kind)
    for name, path in itertools.islice(_bombs(profile, folder), profile.pick(short=2, long=100)):
        _run(outcome, f"bomb {name}", ["bomb", str(path)])
        path.unlink()
    _run(outcome, "odd paths", ["paths", str(folder / "odd")])
    _run(outcome, "files that change while they are read", ["changes", str(folder / "changing")])
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        _run(outcome, "files without permission", ["permissions", str(folder / "denied")])
    return outcome


def _attack_tables(outcome: Outcome, profile: Profile, folder: Path, kind: str) -> None:
    """Mutate tables in a process; where it dies, note the try and go on behind it."""
    first, total = 0, profile.pick(short=80, long=6000)
    while first < total:
        place = folder / f"{kind}.progress"
        code, message = _call(["tables", kind, str(folder), str(profile.seed), str(first), str(total), str(place)])
        reached = int(place.read_text() or first) if place.exists() else first
        if code == 0:
            outcome.tried += total - first
            return
        outcome.tried += reached - first + 1
        outcome.fail(f"{kind}, seed {profile.seed}, try {reached}: exit {code}: {message}")
        first = reached + 1


def _run(outcome: Outcome, what: str, arguments: list[str]) -> None:
    """Run a worker, which prints how many inputs it tried, and raises at the first broken promise."""
    code, message = _call(arguments)
    if code == 0:
        outcome.tried += int(message)
    else:
        outcome.tried += 1
        outcome.fail(f"{what}: exit {code}: {message}")


def _call(arguments: list[str]) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.torture.inputs_worker", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return -1, f"more than {_SECONDS} seconds"
    if done.returncode == 0:
        return 0, done.stdout.strip()
    return done.returncode, " ".join(done.stderr.split())[-300:]


def _bombs(profile: Profile, folder: Path) -> Iterator[tuple[str, Path]]:
    """Write small files that unpack to far more than the reader may hold at once."""
    unpacked = profile.pick(short=100, long=1000)
    for name, head, unit in (
        ("one line.jsonl.gz", b'{"id":"a","text":"', b"x" * _MEBIBYTE),
        ("one row.csv.gz", b"id,text\n", (b'"' + b"x" * 252 + b'\n",') * (_MEBIBYTE // 256)),
        ("one field.csv.gz", b'id,text\na,"', (b"x" * 255 + b"\n") * (_MEBIBYTE // 256)),
        ("one row.tsv.gz", b"id\ttext\n", b"\t" * _MEBIBYTE),
        ("one text.txt.gz", b"", b"text " * (_MEBIBYTE // 5)),
        ("one page.html.gz", b"<p>", b"text " * (_MEBIBYTE // 5)),
        ("one tag.html.gz", b"", b"<a>" * (_MEBIBYTE // 3)),
        ("one mark.md.gz", b"", b"- a\n" * (_MEBIBYTE // 4)),
        ("one mark.rst.gz", b"", b"- a\n" * (_MEBIBYTE // 4)),
        ("blank lines.jsonl.gz", b"", b"\n" * 1024 + b" " * (_MEBIBYTE - 1024)),
    ):
        path = folder / name
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(head)
            for _ in range(60 if name.startswith(("one tag", "one mark")) else unpacked):  # below the size refused
                file.write(unit)
        yield name, path
