"""The results of the attacks: kept as JSON, shown as a table."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from eval.provenance import describe_machine, package_versions
from tests.torture.outcome import Outcome

RESULTS = Path(__file__).parent / "results.json"
TABLE = Path(__file__).parent / "RESULTS.md"

_INTRODUCTION = """# Attacks on the promises

What the engine promises of its collections (crash safety, durability, detection of damage, exactness after any history,
bounded memory, safety with crafted files) is attacked here until something breaks. A broken promise makes the run fail;
each that was ever found broken has a small test of its own. `make torture` writes this file; every test run makes the
same attacks for some seconds each.
"""


@dataclass(frozen=True)
class Entry:
    """One attack's results.

    Attributes:
        profile: "short" or "long".
        date: when it ran.
        seconds: how long.
        machine: processor, cores and system.
        versions: of Python and of the packages.
        outcomes: its rows.
    """

    profile: str
    date: str
    seconds: float
    machine: dict[str, str | int]
    versions: dict[str, str]
    outcomes: list[Outcome]

    @classmethod
    def of(cls, profile: str, seconds: float, outcomes: Sequence[Mapping[str, Any]]) -> Entry:
        """Return the entry of a run that has just ended."""
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        rows = [Outcome(**outcome) for outcome in outcomes]
        return cls(profile, today, round(seconds, 1), describe_machine(), package_versions(), rows)

    @property
    def broken(self) -> int:
        """How many promises were broken."""
        return sum(outcome.broken for outcome in self.outcomes)


def read_results() -> dict[str, Entry]:
    """Return what earlier runs recorded, by attack."""
    if not RESULTS.exists():
        return {}
    return msgspec.json.decode(RESULTS.read_bytes(), type=dict[str, Entry])


def write_results(entries: Mapping[str, Entry], order: Sequence[str]) -> None:
    """Keep results and write the table anew."""
    RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(dict(entries)), indent=1) + b"\n")
    TABLE.write_text(f"{_INTRODUCTION}\n{render(entries, order)}", encoding="utf-8")


def render(entries: Mapping[str, Entry], order: Sequence[str]) -> str:
    """Return the results as Markdown: a table of attacks, and where and when they ran."""
    lines = ["| attack | tried | promises broken | measured |", "| --- | ---: | ---: | --- |"]
    runs: dict[str, list[str]] = {}
    for name in order:
        if name not in entries:
            continue
        entry = entries[name]
        for outcome in entry.outcomes:
            notes = "; ".join(f"{note}: {value}" for note, value in outcome.notes.items())
            tried = f"{outcome.tried:,} {outcome.unit}"
            lines.append(f"| {outcome.attack} | {tried} | {outcome.broken} | {notes.replace('|', '/')} |")
        machine = ", ".join(f"{key} {value}" for key, value in entry.machine.items())
        python, numpy = entry.versions["python"], entry.versions.get("numpy", "?")
        where = f"{entry.profile} profile, {entry.date}, {machine}, Python {python}, NumPy {numpy}"
        runs.setdefault(where, []).append(f"{name} {entry.seconds:,.0f} s")
    lines.append("")
    lines += [f"- {where}: {', '.join(names)}" for where, names in runs.items()]
    return "\n".join(lines) + "\n"
