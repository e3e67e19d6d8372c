"""What a benchmark, a study or a probe found out, for people and for machines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from eval.provenance import describe_machine, package_versions

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Outcome:
    """The result of one of them.

    Attributes:
        title: what was measured.
        columns: heads of the table; the first column names the side.
        rows: cells as text.
        notes: how it was measured, and what was checked before.
        numbers: the same for machines.
        machine: what it ran on.
        versions: of the packages that have a say.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    numbers: dict[str, Any]
    machine: dict[str, Any] = field(default_factory=describe_machine)
    versions: dict[str, str] = field(default_factory=package_versions)

    def to_json(self) -> bytes:
        """Return everything as JSON text."""
        return msgspec.json.format(msgspec.json.encode(asdict(self)), indent=2) + b"\n"

    def table(self) -> Table:
        """Return the result for people, to be printed with a `rich` console."""
        from rich import box
        from rich.table import Table

        table = Table(title=self.title, caption="\n".join(self.notes), box=box.SIMPLE_HEAD, caption_justify="left")
        for number, column in enumerate(self.columns):
            table.add_column(column, justify="left" if number == 0 else "right", overflow="fold")
        for row in self.rows:
            table.add_row(*row)
        return table

    def markdown(self) -> str:
        """Return the result as a section of a Markdown file."""
        rule = ["---"] + ["---:"] * (len(self.columns) - 1)
        lines = [f"| {' | '.join(cells)} |" for cells in (self.columns, rule, *self.rows)]
        return "\n".join([f"## {self.title}", "", *lines, "", *(f"- {note}" for note in self.notes), ""])


def outcomes_json(outcomes: Sequence[Outcome]) -> bytes:
    """Return several outcomes as JSON text."""
    return msgspec.json.format(msgspec.json.encode(outcomes), indent=2) + b"\n"


def read_outcomes(path: Path) -> list[Outcome]:
    """Read stored outcomes; an empty list where there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=list[Outcome]) if path.exists() else []
