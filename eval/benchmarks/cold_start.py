"""Cold starts of the command line: `python -m eval.benchmarks.cold_start`.

How long a person waits for `retrieval --help` and for one BM25 search, from starting the process to its end.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from eval.benchmarks.command_line import DATA, Data, Json, show
from eval.benchmarks.outcome import Outcome
from eval.benchmarks.processes import Spread
from eval.benchmarks.short_texts import WordModel
from eval.errors import ReproductionError

_QUERY = "vitamin D deficiency is linked to the risk of falling"


def measure(data: Path, folder: str = "scifact", repeats: int = 9) -> Outcome:
    """Time whole processes.

    Args:
        data: folder of test collections.
        folder: the collection that is searched; generated texts stand in where it is missing.
        repeats: measured starts of each command; an earlier one fills the caches of files and kernels.

    Raises:
        ReproductionError: a command failed.
    """
    from retrieval import Collection
    from retrieval.documents import Document, read_documents

    with tempfile.TemporaryDirectory() as temporary:
        index = Path(temporary) / "index"
        collection = Collection.create(index, encoder=None)
        if (data / folder).is_dir():
            collection.upsert(read_documents(data / folder, format="beir"))
        else:
            texts = enumerate(WordModel.zipfian().sample(5_000))
            collection.upsert(Document(str(number), text) for number, text in texts)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "retrieval --help": [*_program(), "--help"],
            "retrieval search, BM25": [*_program(), "search", str(index), _QUERY, "--mode", "bm25"],
        }
        times = {name: _times(command, repeats) for name, command in commands.items()}
    rows = [[name, Spread.of(seconds).text(3, " s")] for name, seconds in times.items()]
    notes = [
        f"{repeats} starts each, after one that warms the caches of files and kernels; median (lowest to highest)",
        f"{len(collection):,} documents ({folder if (data / folder).is_dir() else 'generated'})",
    ]
    return Outcome("Cold start", ["command", "seconds"], rows, notes, {"seconds": times, "documents": len(collection)})


def _program() -> list[str]:
    installed = Path(sys.executable).with_name("retrieval")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "retrieval.cli"]


def _times(command: list[str], repeats: int) -> list[float]:
    seconds = []
    for number in range(repeats + 1):
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise ReproductionError(f"{' '.join(command[:3])} failed: {said[-1] if said else done.returncode}")
        if number > 0:
            seconds.append(time.perf_counter() - began)
    return seconds


def main(
    data: Data = DATA,
    folder: Annotated[str, typer.Option(help="Collection that is searched.")] = "scifact",
    repeats: Annotated[int, typer.Option(min=1, help="Measured starts of each command.")] = 9,
    json: Json = None,
) -> None:
    """Time `retrieval --help` and a BM25 search from a cold process."""
    show(lambda: measure(data, folder, repeats), json)


if __name__ == "__main__":
    typer.run(main)
