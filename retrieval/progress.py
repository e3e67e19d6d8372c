"""Progress bars: on a terminal, for what takes longer than a second, and nowhere else."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_SECONDS = 1.0
"""Work that is done sooner shows nothing."""


class ProgressBar(Protocol):
    """What work reports to."""

    def advance(self, amount: int = 1) -> None:
        """Say that so much more is done."""

    def grow(self, amount: int) -> None:
        """Say that there is so much more to do, or less."""


class _Quiet:
    def advance(self, amount: int = 1) -> None:
        pass

    def grow(self, amount: int) -> None:
        pass


class _Shown:
    """A bar that appears when the work has taken a second and is not done."""

    def __init__(self, description: str, unit: str, total: int | None) -> None:
        self._description = description
        self._unit = unit
        self._total = total
        self._done = 0
        self._begun = time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def advance(self, amount: int = 1) -> None:
        self._done += amount
        if self._bar is None and time.monotonic() - self._begun >= PATIENCE_SECONDS:
            self._show()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done, total=self._total)

    def grow(self, amount: int) -> None:
        self._total = (self._total or 0) + amount
        self.advance(0)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import TimeRemainingColumn as RemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(show_speed=True),
            TextColumn(f"{{task.completed:,.0f}} {self._unit}"),
            TimeElapsedColumn(),
            RemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(self._description, total=self._total, completed=self._done)
        self._bar.start()


def no_progress() -> ProgressBar:
    """Return a bar that shows nothing."""
    return _Quiet()


@contextlib.contextmanager
def progress(
    description: str, *, unit: str = "documents", total: int | None = None, enabled: bool = True
) -> Iterator[ProgressBar]:
    """Show how far the work inside the block is, on standard error, and clear it away afterwards.

    Nothing is shown when standard error is not a terminal, or when the work takes less than a second.

    Args:
        description: what is being done, before the bar.
        unit: what is counted.
        total: how much there is to do; None when it is not known, or grows.
        enabled: False shows nothing at all.
    """
    if not enabled or not sys.stderr.isatty():
        yield no_progress()
        return
    bar = _Shown(description, unit, total)
    try:
        yield bar
    finally:
        bar.close()
