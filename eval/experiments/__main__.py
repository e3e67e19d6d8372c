"""Run studies and write their committed results: `python -m eval.experiments NAME --data ../shared/data`."""

from __future__ import annotations

import pkgutil
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from eval.benchmarks.command_line import DATA, Data
from eval.benchmarks.outcome import Outcome, outcomes_json
from eval.experiments import studies
from eval.experiments.options import Options
from indexes.errors import StorageError
from indexes.storage import replace_file
from retrieval.errors import RetrievalError

_HERE = Path(__file__).parent


def study_names() -> list[str]:
    """Return the names of all studies."""
    return sorted(module.name for module in pkgutil.iter_modules(studies.__path__))


def main(
    names: Annotated[list[str], typer.Argument(help="Studies.", metavar="NAME...")],
    *,
    data: Data = DATA,
    output: Annotated[Path, typer.Option(help="Folder of RESULTS.md and results/.")] = _HERE,
    workspace: Annotated[Path | None, typer.Option(help="Folder that keeps trained models; else they go.")] = None,
    seed: Annotated[
        list[int] | None, typer.Option(help="Of the runs, instead of the study's own; may be repeated.")
    ] = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of steps and queries, to try it; not recorded.")] = 1.0,
    model: Annotated[list[str] | None, typer.Option(help="NAME=FOLDER of a further model.")] = None,
) -> None:
    """Run studies; write results/NAME.json and RESULTS.md."""
    unknown = sorted(set(names) - set(study_names()))
    if unknown:
        Console(stderr=True).print(f"error: unknown study {unknown[0]!r}: {', '.join(study_names())}")
        raise typer.Exit(2)
    models = {name: Path(place) for name, _, place in (each.partition("=") for each in model or [])}
    for name in names:
        with tempfile.TemporaryDirectory() as temporary:
            options = Options(data, workspace or Path(temporary), tuple(seed or ()), share, models)
            try:
                outcomes: list[Outcome] = import_module(f"{studies.__name__}.{name}").run(options)
            except (RetrievalError, StorageError, OSError) as error:
                Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
                raise typer.Exit(1) from None
        for outcome in outcomes:
            Console().print(outcome.table())
        if share == 1:
            (output / "results").mkdir(parents=True, exist_ok=True)
            replace_file(output / "results" / f"{name}.json", outcomes_json(outcomes))
            write_summary(output)


def write_summary(output: Path) -> None:
    """Write RESULTS.md from all stored results."""
    replace_file(output / "RESULTS.md", summary(output / "results").encode())


def summary(results: Path) -> str:
    """Return the text of RESULTS.md: a chapter for each study with stored results, a section for each outcome."""
    lines = [
        "# Experiments",
        "",
        "Written by `python -m eval.experiments`; `results/` holds every number. Differences are paired, with 95 % "
        "intervals by bootstrap over queries or pairs and p by sign-flips (`eval/significance.py`).",
        "",
    ]
    for name in study_names():
        stored = results / f"{name}.json"
        if stored.is_file():
            title = import_module(f"{studies.__name__}.{name}").TITLE
            outcomes = msgspec.json.decode(stored.read_bytes(), type=list[Outcome])
            lines += [f"## {title}", "", f"`python -m eval.experiments {name} --data ../shared/data`", ""]
            lines += [f"#{outcome.markdown()}" for outcome in outcomes]
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
