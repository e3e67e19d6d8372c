"""Run studies and write their committed results: `python -m eval.experiments NAME --data ../shared/data`."""

from __future__ import annotations

import pkgutil
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eval.benchmarks.drawing import captions, draw
from eval.command_line import DATA, Data
from eval.experiments import studies
from eval.experiments.options import Options
from eval.experiments.plots import PLOTS
from eval.outcome import Outcome, outcomes_json, read_outcomes
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
    """Draw the plots (where matplotlib is installed) and write RESULTS.md, of all stored results."""
    drawable = find_spec("matplotlib") is not None
    for name, plots in PLOTS.items():
        if drawable:
            draw(plots, _stored(output, name), output / "plots")
        else:  # those that lie there may be of other numbers
            for plot in plots:
                (output / "plots" / plot.file).unlink(missing_ok=True)
    replace_file(output / "RESULTS.md", summary(output).encode())


def summary(output: Path) -> str:
    """Return the text of RESULTS.md: a chapter for each study with stored results, with the plots that are drawn."""
    lines = [
        "# Experiments",
        "",
        "Written by `python -m eval.experiments`; `results/` holds every number. Differences are paired, with 95 % "
        "intervals by bootstrap over queries or pairs and p by sign-flips (`eval/significance.py`).",
        "",
    ]
    for name in study_names():
        outcomes = _stored(output, name)
        if outcomes:
            title = import_module(f"{studies.__name__}.{name}").TITLE
            lines += [f"## {title}", "", f"`python -m eval.experiments {name} --data ../shared/data`", ""]
            drawn = [plot for plot in PLOTS.get(name, ()) if (output / "plots" / plot.file).is_file()]
            lines += [line for caption in captions(drawn).values() for line in (caption, "")]
            lines += [f"#{outcome.markdown()}" for outcome in outcomes]
    return "\n".join(lines)


def _stored(output: Path, name: str) -> list[Outcome]:
    return read_outcomes(output / "results" / f"{name}.json")


if __name__ == "__main__":
    typer.run(main)
