"""What every attack reports, and how hard it tries."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A file system in memory, where there is one: attacks make many thousands of commits that need not wait for a disk."""


@dataclass(frozen=True)
class Profile:
    """How long the attacks run: `SHORT` in every test run, `LONG` for `make torture`."""

    name: str
    seed: int = 0

    def pick(self, *, short: int, long: int) -> int:
        """Return the number of tries, or seconds, for this profile."""
        return long if self.name == "long" else short


SHORT = Profile("short")
LONG = Profile("long")

_SHOWN = 20


@dataclass
class Outcome:
    """One row of the table.

    Attributes:
        attack: what was done, in a few words.
        tried: how often.
        unit: of what: "kills", "corruptions", "inputs", "steps", ...
        broken: how many times a promise was broken; must be 0.
        notes: other numbers for the table, by name.
        failures: the first broken promises, each with what is needed to reproduce it.
    """

    attack: str
    unit: str
    tried: int = 0
    broken: int = 0
    notes: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def fail(self, what: str) -> None:
        """Note a broken promise."""
        self.broken += 1
        if len(self.failures) < _SHOWN:
            self.failures.append(what)
