"""Run the benchmarks and write their committed results: `python -m eval.benchmarks --data ../shared/data`.

Results are written after each part, so that a long run that is broken off keeps what it has; `--only` measures some
parts anew and keeps the stored results of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from eval.benchmarks import (
    cold_start,
    dense_indexing,
    encoder_length,
    encoder_runtimes,
    encoding,
    gpu_encoding,
    growth,
    lexical_indexing,
    lexical_search,
    reordering,
    reranking,
    sparse_search,
)
from eval.benchmarks.drawing import captions, draw
from eval.benchmarks.plots import PLOTS
from eval.benchmarks.text_collections import REAL, text_collection
from eval.command_line import DATA, Data, show_all
from eval.outcome import Outcome, outcomes_json, read_outcomes
from indexes.storage import replace_file

_HERE = Path(__file__).parent
_LEARNED = (200_000,)
_BINARY = ((200_000, 80), (100_000, 1_000), (30_000, 3_000))
_CODES_PER_CLUSTER = 200


@dataclass(frozen=True)
class Options:
    """What all parts are told.

    Attributes:
        data: folder of test collections.
        documents: folder of documents that passages are cut from; None leaves them out.
        repeats: measured rounds.
        share: of the full sizes of synthetic collections.
    """

    data: Path
    documents: Path | None
    repeats: int
    share: float

    def scaled(self, n: int) -> int:
        """Return the size to take instead of a full one."""
        return max(100, round(n * self.share))


@dataclass(frozen=True)
class Part:
    """One benchmark.

    Attributes:
        name: for the command line.
        title: with which the titles of its tables begin.
        measure: runs it.
        missing: says what this machine lacks for it; None where it lacks nothing.
    """

    name: str
    title: str
    measure: Callable[[Options], list[Outcome]]
    missing: Callable[[], str | None] = lambda: None


def _lexical_indexing(options: Options) -> list[Outcome]:
    return [
        lexical_indexing.measure(options.data, repeats=options.repeats),
        # Memory is compared where there is something to keep in it.
        lexical_indexing.measure(options.data, options.scaled(1_000_000), "synthetic", repeats=1),
    ]


def _lexical_search(options: Options) -> list[Outcome]:
    names = ["synthetic", *(name for name in REAL if (options.data / name).is_dir())]
    if options.documents is not None:
        names.append("documentation")
    sizes = {name: options.scaled(963_000) if name == "synthetic" or options.share < 1 else None for name in names}
    collections = (text_collection(name, n, options.data, options.documents) for name, n in sizes.items())
    return [
        outcome for collection in collections for outcome in lexical_search.measure(collection, repeats=options.repeats)
    ]


def _learned(options: Options) -> list[Outcome]:
    collections = (sparse_search.learned_collection(options.scaled(n), 100, options.data) for n in _LEARNED)
    return [
        outcome for collection in collections for outcome in sparse_search.measure(collection, repeats=options.repeats)
    ]


def _binary(options: Options) -> list[Outcome]:
    outcomes = []
    for full, active in _BINARY:
        n = options.scaled(full)
        for clusters in (None, max(1, n // _CODES_PER_CLUSTER)):
            collection = sparse_search.binary_collection(n, active, 50, clusters=clusters)
            outcomes += sparse_search.measure(collection, repeats=options.repeats)
    return outcomes


def _growth(options: Options) -> list[Outcome]:
    return [growth.measure(options.data, [options.scaled(n) for n in growth.SIZES], repeats=options.repeats)]


def _encoder_length(options: Options) -> list[Outcome]:
    longest = max(encoder_length.LENGTHS[0], options.scaled(encoder_length.LENGTHS[-1]))
    lengths = [length for length in encoder_length.LENGTHS if length <= longest]
    return [encoder_length.measure(lengths, repeats=options.repeats)]


PARTS = (
    Part("cold_start", "Cold start", lambda options: [cold_start.measure(options.data)]),
    Part("lexical_indexing", "Lexical indexing", _lexical_indexing),
    Part("lexical_search", "BM25 search", _lexical_search),
    Part("learned_search", "Learned sparse search", _learned),
    Part("binary_search", "Binary search", _binary),
    Part(
        "reordering",
        "Document reordering",
        lambda options: reordering.measure_all(options.data, share=options.share, repeats=options.repeats),
    ),
    Part("growth", "Growth", _growth),
    Part(
        "dense_indexing",
        "Dense indexing",
        lambda options: [dense_indexing.measure(options.data, repeats=options.repeats)],
    ),
    Part("encoder_length", "Encoder length", _encoder_length),
    Part(
        "encoding",
        "Encoding",
        lambda options: encoding.measure(options.data, share=options.share, repeats=options.repeats),
    ),
    Part(
        "gpu_encoding",
        gpu_encoding.TITLE,
        lambda options: [gpu_encoding.measure(options.data, share=options.share, repeats=options.repeats)],
        gpu_encoding.missing_device,
    ),
    Part(
        "encoder_runtimes",
        "Encoder runtimes",
        lambda options: [encoder_runtimes.measure(options.data, share=options.share, repeats=options.repeats)],
    ),
    Part(
        "reranking",
        "Reranking",
        lambda options: [reranking.measure(options.data, share=options.share, repeats=options.repeats)],
    ),
)


def main(
    *,
    data: Data = DATA,
    output: Annotated[Path, typer.Option(help="Folder for RESULTS.md, results.json and plots.")] = _HERE,
    documents: Annotated[Path | None, typer.Option(help="Folder of documents, such as /usr/share/doc.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds.")] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Part to measure; may be repeated.")] = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of the full synthetic sizes, to try it.")] = 1.0,
) -> None:
    """Run the benchmarks and write RESULTS.md, results.json and the plots."""
    unknown = sorted(set(only or []) - {part.name for part in PARTS})
    if unknown:
        Console(stderr=True).print(f"error: unknown part {unknown[0]!r}: {', '.join(part.name for part in PARTS)}")
        raise typer.Exit(2)
    stored = output / "results.json"
    for part in PARTS:
        if only and part.name not in only:
            continue
        if reason := part.missing():
            Console(stderr=True).print(f"{part.name} is left out, what is stored stays: {reason}", highlight=False)
            continue
        options = Options(data, documents, repeats, share)
        measured = show_all(lambda part=part, options=options: part.measure(options), None)  # type: ignore[misc]
        kept = [outcome for outcome in read_outcomes(stored) if not superseded(outcome, part, measured)]
        write(in_order([*measured, *kept]), output)


def superseded(old: Outcome, part: Part, measured: Sequence[Outcome]) -> bool:
    """Tell whether a stored outcome goes: its part was measured anew, and it has no side that could not be here.

    What another machine measured stays for sides that this one lacks, as those in bf16 on a processor without it.
    """
    if not old.title.startswith(part.title):
        return False
    new = [outcome for outcome in measured if outcome.title == old.title]
    return not new or new[0].machine["processor"] == old.machine["processor"] or _sides(old) <= _sides(new[0])


def _sides(outcome: Outcome) -> set[str]:
    return {row[0] for row in outcome.rows}


def in_order(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return outcomes in the order of the parts; those that belong to none are left out."""
    return [outcome for part in PARTS for outcome in outcomes if outcome.title.startswith(part.title)]


def write(outcomes: Sequence[Outcome], output: Path) -> None:
    """Write results.json, the plots (where matplotlib is installed) and RESULTS.md."""
    replace_file(output / "results.json", outcomes_json(outcomes))
    try:
        plots = captions(draw(PLOTS, outcomes, output / "plots"))
    except ModuleNotFoundError:
        plots = {}
    replace_file(output / "RESULTS.md", markdown(outcomes, list(plots.values())).encode())


def markdown(outcomes: Sequence[Outcome], plots: Sequence[str] = ()) -> str:
    """Return RESULTS.md: where it was measured, the plots, and a section for each outcome."""
    machine = outcomes[0].machine
    versions = dict(chain.from_iterable(outcome.versions.items() for outcome in outcomes))
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    head = f"""\
# Speed

Written by `python -m eval.benchmarks`; `results.json` beside this file holds every single measurement.
Machine: {_described(machine)}. Versions: {packages}.
"""
    pictures = ["## Plots\n", *(f"{plot}\n" for plot in plots)] if plots else []
    return "\n".join([head, *pictures, *(_section(outcome, machine) for outcome in outcomes)])


def _section(outcome: Outcome, machine: dict[str, str | int]) -> str:
    if outcome.machine == machine:
        return outcome.markdown()
    return f"{outcome.markdown()[:-1]}\n- measured on another machine: {_described(outcome.machine)}\n"


def _described(machine: dict[str, str | int]) -> str:
    return f"{machine['processor']}, {machine['cores']} cores, {machine['system']}"


if __name__ == "__main__":
    typer.run(main)
