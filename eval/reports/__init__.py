"""Reports of results: a terminal table, JSON, CSV, LaTeX, Markdown, and one web page that opens without a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.errors import ReportError
from eval.reports.content import Content, Unmeasured, gather
from eval.tasks.base import TaskResult
from indexes.storage import make_directory, replace_file

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["FORMATS", "Content", "Unmeasured", "gather", "render", "table", "write_content", "write_report"]


def _text(content: Content) -> str:
    from rich.console import Console

    from eval.reports.terminal import terminal_report

    console = Console(markup=False, emoji=False, highlight=False, width=160, color_system=None, force_terminal=False)
    with console.capture() as captured:
        console.print(terminal_report(content))
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def _json(content: Content) -> str:
    from eval.reports.tables import json_report

    return json_report(content)


def _latex(content: Content) -> str:
    from eval.reports.latex import latex_report

    return latex_report(content)


def _markdown(content: Content) -> str:
    from eval.reports.markdown import markdown_report

    return markdown_report(content)


def _html(content: Content) -> str:
    from eval.reports.web_page import web_page

    return web_page(content)


def _csv(name: str) -> Callable[[Content], str]:
    def write(content: Content) -> str:
        from eval.reports import tables

        of_name: Callable[[Content], str] = getattr(tables, name)
        return of_name(content)

    return write


FORMATS: dict[str, dict[str, Callable[[Content], str]]] = {
    "table": {"report.txt": _text},
    "json": {"report.json": _json},
    "csv": {
        "scores.csv": _csv("scores_csv"),
        "table.csv": _csv("wide_csv"),
        "comparisons.csv": _csv("comparisons_csv"),
        "items.csv": _csv("items_csv"),
    },
    "latex": {"report.tex": _latex},
    "markdown": {"report.md": _markdown},
    "html": {"report.html": _html},
}
"""Files of each format, the one that stands for the format first."""


def table(results: Sequence[TaskResult], **options: Any) -> RenderableType:
    """Return the report for people, to be printed with a `rich` console.

    Args:
        results: of any number of systems and tasks.
        **options: see `gather`.

    Raises:
        ComparisonError: there is no result, or the systems cannot be compared.
    """
    from eval.reports.terminal import terminal_report

    return terminal_report(gather(results, **options))


def write_report(
    results: Sequence[TaskResult], folder: Path, formats: Sequence[str] = tuple(FORMATS), **options: Any
) -> list[Path]:
    """Compare systems and write the report.

    Args:
        results: of any number of systems and tasks.
        folder: where the files go; made if need be.
        formats: "table", "json", "csv", "latex", "markdown", "html".
        **options: see `gather`: baseline=, items=, family=, unmeasured=, title=.

    Returns:
        The files, in the order of the formats.

    Raises:
        ComparisonError: there is no result, or the systems cannot be compared.
        ReportError: no such format.
        StorageError: a file cannot be written.
    """
    _check(formats)
    return write_content(gather(results, **options), folder, formats)


def write_content(content: Content, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write what `gather` has put together; see `write_report`."""
    _check(formats)
    make_directory(folder)
    written = []
    for name, write in ((name, write) for each in formats for name, write in FORMATS[each].items()):
        replace_file(folder / name, write(content).encode("utf-8", "replace"))
        written.append(folder / name)
    return written


def render(content: Content, form: str) -> str:
    """Return the report as text of one format; of several files, the first.

    Raises:
        ReportError: no such format.
    """
    _check([form])
    return next(iter(FORMATS[form].values()))(content)


def _check(formats: Sequence[str]) -> None:
    for form in formats:
        if form not in FORMATS:
            raise ReportError(f"no format of reports {form!r}; there are {', '.join(FORMATS)}")
