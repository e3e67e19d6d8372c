"""`python -m tests.torture`: every attack on the promises, each in a process of its own, and the table of results.

`make torture` runs the long profile and keeps its results in `results.json` and RESULTS.md beside this file. Single
attacks can be named; their rows replace those of an earlier run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from tests.torture.table import Entry, read_results, render, write_results

ATTACKS = (
    "kills",
    "power_loss",
    "faults",
    "bit_rot",
    "crafted",
    "searchers",
    "inputs",
    "model",
    "memory",
    "concurrency",
)
"""Modules of this package with a function `run(profile) -> list[Outcome]`."""

_TIMEOUT = 7200
"""Seconds after which an attack hangs: several times what the longest takes."""

_ROOT = Path(__file__).parents[2]
_PROFILES = ("short", "long")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    attacks: Annotated[list[str] | None, typer.Argument(help=f"Which: {', '.join(ATTACKS)}; all by default.")] = None,
    profile: Annotated[str, typer.Option(help="short or long.")] = "long",
    seed: Annotated[int, typer.Option(help="Of everything that is random.")] = 0,
    jobs: Annotated[int, typer.Option(help="Attacks at a time.")] = 1,
    record: Annotated[bool, typer.Option(help="Keep the results in results.json and RESULTS.md.")] = False,
) -> None:
    """Run attacks and print the table; the exit status is 1 when a promise was broken."""
    chosen = attacks or list(ATTACKS)
    if unknown := set(chosen) - set(ATTACKS):
        raise typer.BadParameter(f"unknown attack {min(unknown)!r}: {', '.join(ATTACKS)}")
    if profile not in _PROFILES:
        raise typer.BadParameter(f"unknown profile {profile!r}: short or long")
    entries: dict[str, Entry] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for name, entry in zip(chosen, pool.map(lambda name: _in_a_process(name, profile, seed), chosen), strict=True):
            entries[name] = entry
            typer.echo(f"{name}: {entry.seconds:.0f} s, {entry.broken} broken", err=True)
    if record:
        write_results({**read_results(), **entries}, ATTACKS)
    typer.echo(render(entries, ATTACKS))
    failures = [failure for entry in entries.values() for outcome in entry.outcomes for failure in outcome.failures]
    for failure in failures:
        typer.echo(f"broken: {failure}", err=True)
    if any(entry.broken for entry in entries.values()):
        raise typer.Exit(1)


def _in_a_process(name: str, profile: str, seed: int) -> Entry:
    """Run one attack in a process of its own, which may die without taking the others with it."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "outcomes.json"
        command = [sys.executable, "-m", "tests.torture.one", name, profile, str(seed), str(result)]
        started = time.monotonic()
        try:
            finished = subprocess.run(command, check=False, cwd=_ROOT, stdout=sys.stderr, timeout=_TIMEOUT)
            end = f"ended with {finished.returncode}" if finished.returncode else ""
        except subprocess.TimeoutExpired:
            end = f"had not ended after {_TIMEOUT:,} s"
        seconds = time.monotonic() - started
        if end or not result.exists():
            died = {"attack": name, "unit": "runs", "tried": 1, "broken": 1, "notes": {}}
            return Entry.of(profile, seconds, [{**died, "failures": [f"{name} {end}"]}])
        return Entry.of(profile, seconds, json.loads(result.read_text(encoding="utf-8")))


if __name__ == "__main__":
    app()
