"""`retrieval tune`: which numbers of a pipeline are worth their price."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from retrieval.cli.kernels import prepare_kernels
from retrieval.cli.options import index_argument, json_option, measure_names, ranking_options, search_options
from retrieval.cli.terminal import note, write_json, write_renderable
from retrieval.errors import QueryError


@click.command(short_help="Find out which numbers of a pipeline are worth their price.")
@index_argument
@click.argument("dataset", metavar="DATASET", type=click.Path(path_type=Path))
@click.option(
    "--split", metavar="NAME", default="dev", show_default=True, help="Which judgements; not those of the test."
)
@click.option("--language", metavar="NAME", help="Which language of a multilingual set.")
@click.option(
    "--measures",
    metavar="NAMES",
    multiple=True,
    help="Names as in ir_measures, separated by spaces (nDCG@10); the first one decides.",
)
@click.option(
    "--try",
    "tried",
    metavar="NAME=N,N,...",
    multiple=True,
    help="Numbers of a stage to try. By default rerankers take 0, 1, 2, 5, 10, ... up to the pipeline's own number, "
    "and retrievers keep theirs.",
)
@click.option("--max-calls", type=float, metavar="N", help="Model calls a query that the best setting may take.")
@click.option(
    "--max-ms",
    type=float,
    metavar="N",
    help="Milliseconds a query that the best setting may take in batches of queries: its first stage, and its model "
    "calls at their mean time. A single search takes longer; --check times some.",
)
@ranking_options
@click.option(
    "--check/--no-check",
    default=True,
    help="Search with the best setting for real, compare, and time single searches (yes).",
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw quality over model calls, as SVG.")
@json_option
def tune(
    index: Path,
    dataset: Path,
    *,
    split: str,
    language: str | None,
    measures: tuple[str, ...],
    tried: tuple[str, ...],
    max_calls: float | None,
    max_ms: float | None,
    check: bool,
    plot: Path | None,
    as_json: bool,
    **ranking: Any,
) -> None:
    """Measure every setting of a pipeline's numbers on a development set; --stages has the largest ones.

    Settings share the models' scores: each document is scored once, and pairs of documents once wherever that saves
    calls. All settings are ranked from these scores, exactly.
    """
    from eval.testsets import read_testset
    from eval.tuning import tune as tuned
    from eval.tuning.plot import check_plot, draw
    from retrieval.collection.collection import Collection

    if ranking["stages"] is None:
        raise QueryError("tuning needs --stages, with the largest number of each: --stages bm25:1000,mono:100")
    numbers = _numbers(tried)
    wanted = measure_names(measures) or ("nDCG@10",)
    if plot is not None:
        check_plot(plot)  # said now, not when everything has been measured
    with Collection.open(index) as collection:
        testset = read_testset(dataset, split, language)
        options = search_options(collection, **ranking)
        prepare_kernels()
        report = tuned(
            collection,
            testset,
            options.pop("stages"),
            options.pop("rerankers"),
            wanted,
            numbers=numbers,
            max_calls=max_calls,
            max_milliseconds=max_ms,
            check=check,
            **options,
        )
    if plot is not None:
        draw(report, plot)
        note(f"drew {plot}")
    if as_json:
        write_json(report.as_dict())
    else:
        write_renderable(report.table())


def _numbers(tried: tuple[str, ...]) -> dict[str, list[int]]:
    """Read "mono=10,20,50" of each stage."""
    found: dict[str, list[int]] = {}
    for text in tried:
        name, _, numbers = text.partition("=")
        name, parts = name.strip(), [part.strip() for part in numbers.split(",")]
        if not name or not all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts):
            raise QueryError(f"--try {text!r}: write a stage and whole numbers, as in --try mono=10,20,50")
        if name in found:
            together = ",".join(map(str, [*found[name], *parts]))
            raise QueryError(f"--try {name} is given twice; give all of its numbers once: --try {name}={together}")
        found[name] = [int(part) for part in parts]
    return found
