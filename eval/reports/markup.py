"""Pieces of HTML in which whatever comes from outside is text, never markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import compress

from eval.reports.figures import shown


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: its head.
        number: holds numbers: set to the right, sorted from the highest first.
        hint: what it says, shown when pointed at.
        mark: small raised letters behind the name.
        wide: shown only where there is room.
    """

    name: str
    number: bool = False
    hint: str = ""
    mark: str = ""
    wide: bool = False


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it shows.
        value: what it is sorted by; None for its text.
        mark: small raised letters behind the text.
        notes: lines of small print below the text, each with its classes.
        style: classes.
        hint: shown when pointed at.
    """

    text: str
    value: float | None = None
    mark: str = ""
    notes: tuple[tuple[str, str], ...] = ()
    style: str = ""
    hint: str = ""


def text(value: str) -> str:
    """Return text as HTML."""
    return escape(shown(value))


def _attribute(name: str, value: str) -> str:
    return f' {name}="{text(value)}"' if value else ""


def table(
    name: str, columns: Sequence[Column], rows: Iterable[Sequence[Cell]], foot: Iterable[Sequence[Cell]] = ()
) -> str:
    """Return a table that the page's script lets people sort by its heads; columns without any content are left out.

    Args:
        name: what it is, for those who do not see it.
        columns: its heads.
        rows: its lines; the first cell of each is its head.
        foot: lines that stay below.
    """
    lines, below_lines = list(rows), list(foot)
    filled = [
        place == 0 or not lines or any(line[place].text for line in (*lines, *below_lines))
        for place in range(len(columns))
    ]
    shown_columns = list(compress(columns, filled))
    heads = "".join(map(_head, shown_columns))
    body, below = (
        "".join(_row(list(compress(line, filled)), shown_columns) for line in part) for part in (lines, below_lines)
    )
    below = f"<tfoot>{below}</tfoot>" if below else ""
    return (
        f'<div class="scroll" tabindex="0" role="region"{_attribute("aria-label", name)}>'
        f'<table class="sortable"><caption class="unseen">{text(name)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody>{below}</table></div>"
    )


def _head(column: Column) -> str:
    mark = f"<sup>{text(column.mark)}</sup>" if column.mark else ""
    attributes = _attribute("class", _style(column)) + _attribute("title", column.hint)
    return f'<th scope="col"{attributes}>{text(column.name)}{mark}</th>'


def _style(column: Column) -> str:
    return " ".join(["number"] * column.number + ["wide"] * column.wide)


def _row(cells: Sequence[Cell], columns: Sequence[Column]) -> str:
    pairs = enumerate(zip(cells, columns, strict=True))
    return f"<tr>{''.join(_cell(cell, column, first=place == 0) for place, (cell, column) in pairs)}</tr>"


def _cell(cell: Cell, column: Column, *, first: bool) -> str:
    name = 'th scope="row"' if first else "td"
    style = " ".join(filter(None, [_style(column), cell.style]))
    value = "" if cell.value is None else f' data-value="{cell.value!r}"'
    mark = f"<sup>{text(cell.mark)}</sup>" if cell.mark else ""
    notes = "".join(f"<small{_attribute('class', classes)}>{text(note)}</small>" for note, classes in cell.notes)
    attributes = f"{_attribute('class', style)}{value}{_attribute('title', cell.hint)}"
    return f"<{name}{attributes}>{text(cell.text)}{mark}{notes}</{name.split(maxsplit=1)[0]}>"
