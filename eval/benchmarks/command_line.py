"""What the benchmarks' commands have in common: where the data is, and how an outcome is shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eval.benchmarks.outcome import Outcome
from indexes.errors import StorageError
from indexes.storage import replace_file
from retrieval.errors import RetrievalError

DATA = Path(__file__).parents[3] / "shared" / "data"
Data = Annotated[Path, typer.Option(help="Folder of test collections.")]
Json = Annotated[Path | None, typer.Option(help="Also write the outcome to this file.")]


def show(measure: Callable[[], Outcome], json: Path | None) -> Outcome:
    """Measure, print the table and write the JSON file; a failure becomes one line and exit status 1."""
    try:
        outcome = measure()
        if json is not None:
            replace_file(json, outcome.to_json())
    except (RetrievalError, StorageError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", highlight=False)
        raise typer.Exit(1) from None
    Console().print(outcome.table())
    return outcome
