"""Cold starts of the command line: `python -m eval.benchmarks.cold_start`.

How long a person waits for `retrieval --help` and for one search, from starting the process to its end, and how many
processor seconds that takes: lexical, dense and hybrid, the latter two with the embedded encoder.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from eval.benchmarks.processes import Spread
from eval.benchmarks.short_texts import WordModel
from eval.command_line import DATA, Data, Json, show
from eval.errors import ReproductionError
from eval.outcome import Outcome

if TYPE_CHECKING:
    from retrieval.documents import Document

_QUERY = "vitamin D deficiency is linked to the risk of falling"


def measure(data: Path, folder: str = "scifact", repeats: int = 9, encoded: int = 200) -> Outcome:
    """Time whole processes.

    Args:
        data: folder of test collections.
        folder: the collection that is searched; generated texts stand in where it is missing.
        repeats: measured starts of each command; an earlier one fills the caches of files and kernels.
        encoded: documents of the collection that is searched by vectors, the first ones; a cold start does not grow
            with them.

    Raises:
        ReproductionError: a command failed.
    """
    from retrieval import Collection

    with tempfile.TemporaryDirectory() as temporary:
        lexical, hybrid = Path(temporary) / "lexical.index", Path(temporary) / "hybrid.index"
        collection = Collection.create(lexical, encoder=None)
        collection.upsert(_documents(data / folder))
        Collection.create(hybrid, encoder="embedded").upsert(islice(_documents(data / folder), encoded))
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "retrieval --help": [*_program(), "--help"],
            "retrieval search, BM25": [*_program(), "search", str(lexical), _QUERY, "--mode", "bm25"],
            "retrieval search, dense": [*_program(), "search", str(hybrid), _QUERY, "--mode", "dense"],
            "retrieval search, hybrid": [*_program(), "search", str(hybrid), _QUERY, "--mode", "hybrid"],
        }
        starts = {name: _starts(command, repeats) for name, command in commands.items()}
    times = {name: [start.elapsed for start in measured] for name, measured in starts.items()}
    processor = {name: [start.processor for start in measured] for name, measured in starts.items()}
    rows = [[name, Spread.of(times[name]).text(3, " s"), Spread.of(processor[name]).text(3, " s")] for name in commands]
    notes = [
        f"{repeats} starts each, after one that warms the caches of files and kernels; median (lowest to highest)",
        f"{len(collection):,} documents ({folder if (data / folder).is_dir() else 'generated'}); the first "
        f"{min(encoded, len(collection))} of them for dense and hybrid search, with the embedded encoder",
        "processor: seconds of all threads, of the process and of the system for it",
    ]
    numbers = {"seconds": times, "processor_seconds": processor, "documents": len(collection)}
    return Outcome("Cold start", ["command", "seconds", "processor"], rows, notes, numbers)


class Start(NamedTuple):
    """One process.

    Attributes:
        elapsed: seconds from its start to its end.
        processor: seconds of processors.
    """

    elapsed: float
    processor: float


def _documents(folder: Path) -> Iterator[Document]:
    from retrieval.documents import Document, read_documents

    if folder.is_dir():
        yield from read_documents(folder, format="beir")
    else:
        texts = enumerate(WordModel.zipfian().sample(5_000))
        yield from (Document(str(number), text) for number, text in texts)


def _program() -> list[str]:
    installed = Path(sys.executable).with_name("retrieval")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "retrieval.cli"]


def _starts(command: list[str], repeats: int) -> list[Start]:
    starts = []
    for number in range(repeats + 1):
        before, began = _processor_seconds(), time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            said = done.stderr.strip().splitlines()
            raise ReproductionError(f"{' '.join(command[:3])} failed: {said[-1] if said else done.returncode}")
        if number > 0:
            starts.append(Start(time.perf_counter() - began, _processor_seconds() - before))
    return starts


def _processor_seconds() -> float:
    """Return what finished child processes have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(
    data: Data = DATA,
    folder: Annotated[str, typer.Option(help="Collection that is searched.")] = "scifact",
    repeats: Annotated[int, typer.Option(min=1, help="Measured starts of each command.")] = 9,
    json: Json = None,
) -> None:
    """Time `retrieval --help` and searches from a cold process."""
    show(lambda: measure(data, folder, repeats), json)


if __name__ == "__main__":
    typer.run(main)
