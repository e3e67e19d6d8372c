"""Run all benchmarks and write their committed results: `python -m eval.benchmarks --data ../shared/data`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from eval.benchmarks import cold_start, dense_indexing, lexical_indexing
from eval.benchmarks.command_line import DATA, Data, show
from eval.benchmarks.outcome import Outcome
from indexes.storage import replace_file

_HERE = Path(__file__).parent


def main(
    data: Data = DATA,
    output: Annotated[Path, typer.Option(help="Folder for RESULTS.md and results.json.")] = _HERE,
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds of the indexing benchmarks.")] = 3,
) -> None:
    """Run all benchmarks and write RESULTS.md and results.json."""
    outcomes = [
        show(lambda: cold_start.measure(data), None),
        show(lambda: lexical_indexing.measure(data, repeats=repeats), None),
        show(lambda: dense_indexing.measure(data, repeats=repeats), None),
    ]
    replace_file(output / "results.json", msgspec.json.format(msgspec.json.encode(outcomes), indent=2) + b"\n")
    replace_file(output / "RESULTS.md", _markdown(outcomes).encode())


def _markdown(outcomes: list[Outcome]) -> str:
    machine, versions = outcomes[0].machine, outcomes[0].versions
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    head = f"""\
# Speed

Written by `python -m eval.benchmarks`; `results.json` beside this file holds every single measurement.
Machine: {machine["processor"]}, {machine["cores"]} cores, {machine["system"]}. Versions: {packages}.
"""
    return "\n".join([head, *(outcome.markdown() for outcome in outcomes)])


if __name__ == "__main__":
    typer.run(main)
