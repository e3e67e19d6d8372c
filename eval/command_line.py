"""What the commands of benchmarks and probes have in common: where the data is, and how an outcome is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eval.outcome import Outcome, outcomes_json
from indexes.errors import StorageError
from indexes.storage import replace_file
from retrieval.errors import RetrievalError

DATA = Path(__file__).parents[2] / "shared" / "data"
Data = Annotated[Path, typer.Option(help="Folder of test collections.")]
Json = Annotated[Path | None, typer.Option(help="Also write the outcome to this file.")]


def show(measure: Callable[[], Outcome], json: Path | None) -> Outcome:
    """Measure, print the table and write the JSON file; a failure becomes one line and exit status 1."""
    return _shown(lambda: [measure()], json, lambda outcomes: outcomes[0].to_json())[0]


def show_all(measure: Callable[[], list[Outcome]], json: Path | None) -> list[Outcome]:
    """Do as `show` for a benchmark of several tables; the JSON file holds a list."""
    return _shown(measure, json, outcomes_json)


def _shown(
    measure: Callable[[], list[Outcome]], json: Path | None, encode: Callable[[list[Outcome]], bytes]
) -> list[Outcome]:
    try:
        outcomes = measure()
        if json is not None:
            replace_file(json, encode(outcomes))
    except (RetrievalError, StorageError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        raise typer.Exit(1) from None
    for outcome in outcomes:
        Console().print(outcome.table())
    return outcomes
