"""Measuring in fresh processes: one side after the other, again and again, so that neither has a warmer machine."""

from __future__ import annotations

import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from eval.errors import ReproductionError


@dataclass(frozen=True)
class Spread:
    """Several measurements of one thing.

    Attributes:
        median: the middle one.
        low: the smallest.
        high: the largest.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Summarise at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int = 2, unit: str = "") -> str:
        """Return "median (low to high)"."""
        return f"{self.median:.{digits}f}{unit} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def run_worker(arguments: Sequence[str]) -> dict[str, Any]:
    """Run `python -m eval.benchmarks.workers` with arguments and return what it measured.

    Raises:
        ReproductionError: it failed; the message holds the end of what it said.
    """
    command = [sys.executable, "-m", "eval.benchmarks.workers", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip(" │╭╰─╮╯")]
        raise ReproductionError(
            f"the worker {arguments[0]!r} failed: {lines[-1].strip() if lines else done.returncode}"
        )
    measured: dict[str, Any] = msgspec.json.decode(done.stdout.splitlines()[-1])
    return measured


def interleaved(
    sides: Mapping[str, Sequence[str]], repeats: int, after_round: Callable[[], None]
) -> dict[str, list[dict[str, Any]]]:
    """Run every side's worker `repeats` times in rounds, and return what was measured by side.

    Args:
        sides: arguments of the workers by name.
        repeats: rounds; the order within a round is turned round each time.
        after_round: removes what the workers left.
    """
    measured: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for number in range(repeats):
        for side in list(sides) if number % 2 == 0 else reversed(list(sides)):
            measured[side].append(run_worker(sides[side]))
        after_round()
    return measured


def spread_of(measured: Sequence[Mapping[str, Any]], name: str) -> Spread:
    """Summarise one number over all repeats."""
    return Spread.of([float(row[name]) for row in measured])


def ratios(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]], name: str) -> Spread:
    """Summarise ours / theirs, round by round: what both share in a round, such as a busy machine, drops out."""
    return Spread.of([float(a[name]) / float(b[name]) for a, b in zip(ours, theirs, strict=True)])


def peak_memory() -> int:
    """Return the largest resident memory that this process has had, in bytes."""
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        # Bytes on macOS, KiB elsewhere. On Linux it would include the parent that this process was forked from.
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return largest if sys.platform == "darwin" else largest * 1024
    match = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
