"""The comparison with mteb as a table for people (Markdown) and for programs (TSV)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from eval.mteb_parity.comparison import Parity
from indexes.storage import replace_file

COLUMNS = (
    "task",
    "kind",
    "score",
    "items",
    "mteb",
    "mteb, our encoder",
    "ours",
    "difference",
    "published",
    "difference to published",
)

_HEADER = """\
# The same numbers as mteb?

Written by `python -m eval.mteb_parity`. Each row is the main score of all-MiniLM-L6-v2 on the same local data three
times: by the package mteb with its own wrapper of sentence-transformers, by mteb with our encoder as its model, and by
our own kind of task; fp32, one thread. The difference is ours minus mteb's. Published figures are from MTEB's results.
"""


def markdown(rows: Sequence[Parity], tolerance: float, versions: Mapping[str, str], faults: Mapping[str, str]) -> str:
    """Return the table.

    Args:
        rows: what was compared.
        tolerance: largest difference that counts as equal.
        versions: of packages.
        faults: why other tasks were not compared, by name.
    """
    differing = [row for row in rows if not row.equals(tolerance)]
    lines = [
        _HEADER,
        f"Both of ours equal mteb's to {tolerance:g}: {len(rows) - len(differing)} of {len(rows)} tasks"
        + (f"; not {', '.join(row.task for row in differing)}." if differing else "."),
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{'|'.join([' --- '] * 3 + [' ---: '] * (len(COLUMNS) - 3))}|",
        *(f"| {' | '.join(_cells(row, digits=5))} |" for row in rows),
        "",
        *(f"- {name} was not compared: {fault}" for name, fault in faults.items()),
        *([""] if faults else []),
        "Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".",
        "",
    ]
    return "\n".join(lines)


def write_tables(
    folder: Path,
    rows: Sequence[Parity],
    tolerance: float,
    versions: Mapping[str, str],
    faults: Mapping[str, str],
) -> None:
    """Write parity.md and parity.tsv."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / "parity.md", markdown(rows, tolerance, versions, faults).encode())
    table = ["\t".join(COLUMNS), *("\t".join(_cells(row, digits=8)) for row in rows)]
    replace_file(folder / "parity.tsv", ("\n".join(table) + "\n").encode())


def _cells(row: Parity, digits: int) -> list[str]:
    def shown(value: float | None, sign: str = "") -> str:
        return "" if value is None else f"{value:{sign}.{digits}f}"

    name = row.task if row.mteb_task == row.task else f"{row.task} ({row.mteb_task})"
    return [
        name,
        row.kind,
        row.score,
        str(row.n_items),
        shown(row.mteb),
        shown(row.adapted),
        shown(row.ours),
        shown(row.difference, "+"),
        shown(row.published),
        shown(row.published_difference, "+"),
    ]
