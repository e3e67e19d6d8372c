"""Measuring in fresh processes: one side after the other, again and again, so that neither has a warmer machine."""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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


_THREAD_SETTINGS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
)


def run_worker(
    arguments: Sequence[str], module: str = "eval.benchmarks.workers", cores: int | None = None
) -> dict[str, Any]:
    """Run `python -m eval.benchmarks.workers`, or another module, with arguments and return what it measured.

    Args:
        arguments: of the command.
        module: its last line on standard output is what was measured, as JSON.
        cores: how many processors the process and all its threads are confined to; None leaves them all.

    Raises:
        ReproductionError: it failed; the message holds the end of what it said.
    """
    command = [sys.executable, "-m", module, *arguments]
    with _confined(cores) as environment:
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip(" │╭╰─╮╯")]
        raise ReproductionError(
            f"the worker {arguments[0]!r} failed: {lines[-1].strip() if lines else done.returncode}"
        )
    measured: dict[str, Any] = msgspec.json.decode(done.stdout.splitlines()[-1])
    return measured


@contextmanager
def _confined(cores: int | None) -> Iterator[dict[str, str]]:
    """Confine this thread, and so the processes that it starts, to some processors; gives their environment."""
    environment = dict(os.environ)
    if cores is None:
        yield environment
        return
    environment.update(dict.fromkeys(_THREAD_SETTINGS, str(cores)))
    if not hasattr(os, "sched_setaffinity"):  # not Linux: the settings alone
        yield environment
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:cores])
    try:
        yield environment
    finally:
        os.sched_setaffinity(0, before)


def n_cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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


def resident_memory() -> dict[str, int]:
    """Return what this process holds in memory now, in bytes: its own ("anonymous") and mapped files ("mapped").

    Both are 0 where the system does not say, which Linux does.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
    except OSError:
        return {"anonymous": 0, "mapped": 0}
    found = {
        name: int(kib) * 1024 for name, kib in re.findall(r"^(RssAnon|RssFile):\s+(\d+) kB$", status, re.MULTILINE)
    }
    return {"anonymous": found.get("RssAnon", 0), "mapped": found.get("RssFile", 0)}
