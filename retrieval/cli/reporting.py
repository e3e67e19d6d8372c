"""`retrieval report`: stored results as a report, in any of its formats."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval.cli.report_formats import ALL_FORMATS, parse_formats
from retrieval.cli.terminal import note, plural, write, write_renderable

if TYPE_CHECKING:
    from eval.tasks.base import TaskResult


@click.command(short_help="Compare stored results, and write a report of them.")
@click.argument("folders", metavar="FOLDER...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--baseline", metavar="NAME", help="Compare each system with this one only.")
@click.option(
    "--format",
    "formats",
    metavar="FORMATS",
    default="table",
    show_default=True,
    help=f"Of {ALL_FORMATS}; several with commas between them need --out.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A file for one format, or a folder; without it the report goes to standard output.",
)
@click.option("--system", "systems", metavar="NAME", multiple=True, help="Report this system only; may be repeated.")
@click.option("--task", "tasks", metavar="NAME", multiple=True, help="Report this task only; may be repeated.")
@click.option(
    "--items",
    type=click.Choice(["same", "shared"]),
    default="shared",
    show_default=True,
    help="Compare over the queries that all systems were measured on, or refuse systems measured on different ones.",
)
@click.option(
    "--family",
    type=click.Choice(["task", "all"]),
    default="task",
    show_default=True,
    help="Holm's correction goes over the tests of each task, or over all tests.",
)
@click.option("--title", default="Evaluation report", help="Of the page.")
def report(
    folders: tuple[Path, ...],
    *,
    baseline: str | None,
    formats: str,
    out: Path | None,
    systems: tuple[str, ...],
    tasks: tuple[str, ...],
    items: str,
    family: str,
    title: str,
) -> None:
    """Compare the results that `retrieval compare` has stored in one or more folders.

    Nothing is measured again. --format html writes one page that opens without a network.
    """
    from eval.errors import ReportError
    from eval.reports import FORMATS, gather, render, write_content
    from eval.reports.terminal import terminal_report
    from indexes.storage import replace_file

    chosen = parse_formats(formats, FORMATS)
    as_file = out is not None and bool(out.suffix) and not out.is_dir()
    if len(chosen) > 1 and (out is None or as_file):
        raise ReportError(f"{len(chosen)} formats need a folder; add --out FOLDER")
    if as_file and out is not None and not out.parent.is_dir():
        raise ReportError(f"cannot write the report: no folder {out.parent}")
    places = [_results_folder(folder) for folder in folders]
    holding = [result for place in places for result in _holding(place)]
    if not holding:
        raise ReportError("the latest runs could measure nothing; run `retrieval compare` again")
    results = _chosen(holding, tasks, systems)
    content = gather(
        results,
        baseline=baseline,
        unmeasured=_reasons(places, results, tasks, systems),
        items="same" if items == "same" else "shared",
        family="all" if family == "all" else "task",
        title=title,
    )
    if out is None:
        if chosen == ["table"]:
            write_renderable(terminal_report(content))
        else:
            write(render(content, chosen[0]).rstrip("\n"))
    elif as_file:
        replace_file(out, render(content, chosen[0]).encode("utf-8", "replace"))
        note(f"wrote {out}")
    else:
        written = write_content(content, out, chosen)
        note(f"wrote {plural(len(written), 'file')} to {out}: {', '.join(path.name for path in written)}")


def _results_folder(folder: Path) -> Path:
    """Return the folder, or the folder `results` in it where that is what `retrieval compare` wrote."""
    inner = folder / "results"
    return inner if inner.is_dir() and not any(folder.glob("*.result.json")) else folder


def _holding(place: Path) -> list[TaskResult]:
    """Return the results of a folder; not those that the latest run could not measure again, which are out of date."""
    from eval.running import read_reasons, read_results

    results = read_results(place)
    failed = {(reason.task, reason.system) for reason in read_reasons(place)}
    return [result for result in results if (result.task, result.system) not in failed]


def _reasons(
    places: list[Path], results: list[TaskResult], tasks: tuple[str, ...], systems: tuple[str, ...]
) -> list[tuple[str, str, str]]:
    """Return why reported systems have no result on tasks; none that another folder measured."""
    from eval.running import read_reasons

    measured = {(result.task, result.system) for result in results}
    of_systems = {result.system for result in results}
    return [
        (reason.task, reason.system, reason.reason)
        for place in places
        for reason in read_reasons(place)
        if (reason.task, reason.system) not in measured
        and reason.system in (systems or of_systems)
        and (not tasks or reason.task in tasks)
    ]


def _chosen(results: list[TaskResult], tasks: tuple[str, ...], systems: tuple[str, ...]) -> list[TaskResult]:
    """Keep the tasks and systems that were named, in that order; all where none was named."""
    from eval.errors import ReportError

    for wanted, there, kind in (
        (tasks, {result.task for result in results}, "task"),
        (systems, {result.system for result in results}, "system"),
    ):
        for name in wanted:
            if name not in there:
                raise ReportError(f"no results of {kind} {name!r}; there are {', '.join(sorted(there))}")
    places = {name: place for place, name in enumerate((*tasks, *systems))}
    kept = [
        result
        for result in results
        if (not tasks or result.task in tasks) and (not systems or result.system in systems)
    ]
    return sorted(kept, key=lambda result: (places.get(result.task, 0), places.get(result.system, 0)))
