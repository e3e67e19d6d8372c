"""`retrieval compare`: systems on tasks, and the report of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from retrieval.cli.declared_systems import DeclaredSystem, read_systems
from retrieval.cli.errors import PROBLEM, leave
from retrieval.cli.kernels import prepare_kernels
from retrieval.cli.options import POLICIES, POLICIES_HELP, json_option
from retrieval.cli.report_formats import ALL_FORMATS, parse_formats
from retrieval.cli.systems import DEFAULT_SYSTEMS, parse_systems
from retrieval.cli.terminal import note, plural, shows_progress, write_json, write_renderable

if TYPE_CHECKING:
    from eval.running import Comparison, Step
    from eval.tasks.base import Task, TaskResult


@click.command(short_help="Measure systems on tasks, and write a report.")
@click.argument("data", metavar="DATA", type=click.Path(path_type=Path))
@click.option(
    "--task",
    "names",
    metavar="NAME",
    multiple=True,
    help="A task, or all of a task's languages; by default every task that DATA has the data of.",
)
@click.option(
    "--system",
    "given",
    metavar="[NAME=]SYSTEM",
    multiple=True,
    help="bm25; embedded; folder or name of an encoder, in fp32 where no settings behind it say another precision; "
    "hybrid; first-stage (candidates as they come); or stages such as bm25:1000,mono:50. By default embedded and bm25.",
)
@click.option(
    "--systems",
    "files",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A TOML file of systems with BM25's parameters, fusion and long texts of their own; measured before those of "
    "--system.",
)
@click.option(
    "--reranker",
    "rerankers",
    metavar="NAME=MODEL",
    multiple=True,
    help="The model of a stage, as for search, with any settings behind it; in fp32 as well.",
)
@click.option("--passages", metavar="NAME=METHOD[,SETTING=N...]", multiple=True, help="As for search.")
@click.option(
    "--encoder",
    metavar="MODEL",
    default="embedded",
    show_default=True,
    help="Of hybrid and of stages that search vectors.",
)
@click.option(
    "--long",
    type=click.Choice(["truncate", "chunk"]),
    default="truncate",
    show_default=True,
    help="What is done with texts that are longer than an encoder reads, where a file of systems does not say it.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    default=Path("comparison"),
    show_default=True,
    help="Where report and results go.",
)
@click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where embeddings and indexes are kept for the next run; by default FOLDER/workspace. It can be removed.",
)
@click.option(
    "--policies",
    "--policy",
    "policy",
    metavar=POLICIES,
    default="engine",
    show_default=True,
    help=f"How measures treat ties, missing queries and self-matches: {POLICIES_HELP}.",
)
@click.option(
    "--format",
    "formats",
    metavar="FORMATS",
    multiple=True,
    default=(ALL_FORMATS,),
    show_default=True,
    help="What the report consists of.",
)
@click.option("--baseline", metavar="NAME", help="Compare each system with this one only.")
@click.option(
    "--latency",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    metavar="N",
    help="Single searches to time for each result.",
)
@click.option("--seed", type=int, default=42, show_default=True, help="Of whatever is drawn.")
@click.option("--again", is_flag=True, help="Run what has a stored result, too.")
@json_option
def compare(
    data: Path,
    *,
    names: tuple[str, ...],
    given: tuple[str, ...],
    files: tuple[Path, ...],
    rerankers: tuple[str, ...],
    passages: tuple[str, ...],
    encoder: str,
    long: Literal["truncate", "chunk"],
    out: Path,
    workspace: Path | None,
    policy: str,
    formats: tuple[str, ...],
    baseline: str | None,
    latency: int,
    seed: int,
    again: bool,
    as_json: bool,
) -> None:
    """Run every system on every task of DATA and compare them: scores, tests of significance, speed.

    DATA is a folder of data sets; a task.toml beside a data set of your own makes it a task. What a run has finished is
    kept: the next one goes on there, and runs again only what has changed.
    """
    from eval.policies import Policies
    from eval.reports import FORMATS, gather, write_content
    from eval.reports.terminal import terminal_report
    from eval.running import ResultStore, run_tasks
    from eval.tasks.base import Surroundings
    from indexes.storage import make_directory

    chosen, policies = parse_formats(",".join(formats), FORMATS), Policies.parse(policy)
    declared: list[str | DeclaredSystem] = [*(system for file in files for system in read_systems(file)), *given]
    tasks = _tasks(data, names)
    systems = parse_systems(declared or DEFAULT_SYSTEMS, rerankers, passages, encoder=encoder, long=long)
    _check_baseline(baseline, [system.name for system in systems])
    prepare_kernels()
    place = workspace or out / "workspace"
    for folder in (out, place):
        make_directory(folder)
    surroundings = Surroundings(place, policies, seed=seed, latency_sample=latency, progress=shows_progress())
    comparison = run_tasks(
        systems,
        tasks,
        surroundings,
        ResultStore(out / "results"),
        again=again,
        progress=_say if shows_progress() else None,
    )
    written: list[Path] = []
    if comparison.results:
        unmeasured = [(each.task, each.system, each.reason) for each in comparison.skipped]
        unmeasured += [(each.task, each.system, each.reason) for each in comparison.failed]
        content = gather(comparison.results, baseline=baseline, unmeasured=unmeasured)
        written = write_content(content, out, chosen)
        if not as_json:
            write_renderable(terminal_report(content))
    if as_json:
        write_json(_as_dict(comparison, written))
    _end(comparison, out, written)


def _tasks(data: Path, names: tuple[str, ...]) -> list[Task]:
    from eval.errors import TaskError
    from eval.tasks.loading import find_tasks, load_tasks

    if names:
        return load_tasks(data, names)
    found = find_tasks(data)
    if not found.tasks:
        raise TaskError(f"no task has its data in {data}; put a task.toml beside a data set, or name another folder")
    if found.missing:
        note(f"{plural(len(found.missing), 'task')} without data in {data} left out; --task NAME says what is missing")
    return found.tasks


def _check_baseline(baseline: str | None, systems: Sequence[str]) -> None:
    from retrieval.errors import QueryError
    from retrieval.pipeline.stages import known

    if baseline is not None and baseline not in systems:
        raise QueryError(f"--baseline {baseline!r} is none of the systems: {known(systems)}")


def _say(step: Step) -> None:
    """Tell people at a terminal how far it is."""
    place = f"[{step.number}/{step.total}] {step.task}, {step.system}"
    if step.result is not None:
        kept = " (stored)" if step.state == "stored" else ""
        note(f"{place}: {step.result.main_score} {step.result.score:.4f}{kept}")
    elif step.state == "begun":
        note(f"{place} …")


def _as_dict(comparison: Comparison, written: Sequence[Path]) -> dict[str, Any]:
    return {
        "results": [_summary(result) for result in comparison.results],
        "stored": comparison.n_stored,
        "skipped": [each._asdict() for each in comparison.skipped],
        "failed": [{"task": each.task, "system": each.system, "reason": each.reason} for each in comparison.failed],
        "files": [str(path) for path in written],
    }


def _summary(result: TaskResult) -> dict[str, Any]:
    """Return a result without what belongs to single items; the report has that."""
    reference = result.reference
    return {
        "task": result.task,
        "kind": result.kind,
        "system": result.system,
        "main_score": result.main_score,
        "score": result.score,
        "scores": result.scores,
        "items": result.n_items,
        "counts": result.counts,
        "costs": result.costs,
        "policies": result.policies,
        "reference": None if reference is None else {"value": reference.value, "source": reference.source},
    }


def _end(comparison: Comparison, out: Path, written: Sequence[Path]) -> None:
    """Say what came of it, the failures last, and leave with a problem if there are any."""
    stored = f", {comparison.n_stored:,} of them stored" if comparison.n_stored else ""
    skipped = f"; {plural(len(comparison.skipped), 'combination')} without a measurement" if comparison.skipped else ""
    note(f"{plural(len(comparison.results), 'result')}{stored}{skipped}; wrote {plural(len(written), 'file')} to {out}")
    for failed in comparison.failed:
        note(f"failed: {failed.task}, {failed.system}: {failed.reason}")
    if comparison.failed or not comparison.results:
        leave(PROBLEM)
