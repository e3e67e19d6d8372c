"""`retrieval evaluate`: what an index finds, measured on a test set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from retrieval.cli.kernels import prepare_kernels
from retrieval.cli.options import (
    POLICIES,
    POLICIES_HELP,
    check_k,
    index_argument,
    json_option,
    measure_names,
    ranking_options,
    search_options,
)
from retrieval.cli.terminal import note, shows_progress, write_json, write_renderable


@click.command(short_help="Measure what an index finds on a test set.")
@index_argument
@click.argument("dataset", metavar="DATASET", type=click.Path(path_type=Path))
@click.option("--split", metavar="NAME", help="Which judgements (test).")
@click.option("--language", metavar="NAME", help="Which language of a multilingual set.")
@click.option(
    "--measures",
    metavar="NAMES",
    multiple=True,
    help="Names as in ir_measures, separated by spaces (nDCG@10 R@100 RR@10 AP@100).",
)
@click.option("-k", "k", type=int, metavar="N", help="Documents to retrieve a query (as deep as the measures look).")
@ranking_options
@click.option(
    "--policies",
    metavar=POLICIES,
    default="engine",
    help=f"Whose way with ties and missing queries (engine): {POLICIES_HELP}.",
)
@click.option("--ignore-identical-ids", is_flag=True, help="Leave out documents with the query's id, as for ArguAna.")
@click.option("--latency", type=click.IntRange(min=0), default=200, metavar="N", help="Searches to time (200).")
@click.option("--run", type=click.Path(path_type=Path), metavar="FILE", help="Write the rankings as a TREC run file.")
@click.option("--exact-scores", is_flag=True, help="With --run: scores as they are, equal ones equal.")
@click.option("--per-query", is_flag=True, help="With --json: also the values of each query.")
@json_option
def evaluate(
    index: Path,
    dataset: Path,
    *,
    split: str | None,
    language: str | None,
    measures: tuple[str, ...],
    k: int | None,
    policies: str,
    ignore_identical_ids: bool,
    latency: int,
    run: Path | None,
    exact_scores: bool,
    per_query: bool,
    as_json: bool,
    **ranking: Any,
) -> None:
    """Run a test set's queries and measure what is found; every judged query counts.

    The index must hold the test set's documents: `retrieval index my.index DATASET` first.
    """
    from dataclasses import replace
    from itertools import islice

    from eval.collection_evaluation import evaluate_collection
    from eval.errors import RunError
    from eval.measures import DEFAULT_MEASURES, Policies
    from eval.runs import write_run
    from eval.testsets import read_testset
    from retrieval.collection.collection import Collection

    check_k(k)
    wanted = measure_names(measures) or DEFAULT_MEASURES
    if run is not None and not run.parent.is_dir():  # said now, not when everything has been searched
        raise RunError(f"cannot write the run: no folder {run.parent}")
    chosen = Policies.parse(policies)
    if ignore_identical_ids:
        chosen = replace(chosen, ignore_identical_ids=True)
    with Collection.open(index) as collection:
        testset = read_testset(dataset, split, language)
        options = search_options(collection, **ranking)
        prepare_kernels()
        for text in islice(filter(str.strip, testset.queries.values()), 1):
            collection.search(text, **options)  # loads models and kernels, whose time is none of the stages'
        report = evaluate_collection(
            collection,
            testset,
            wanted,
            k=k,
            policies=chosen,
            latency_sample=latency,
            progress=shows_progress(),
            **options,
        )
    if as_json:
        write_json(report.as_dict(per_query=per_query))
    else:
        write_renderable(report.table())
    if run is not None:  # last: ids that a run file cannot carry take nothing away from what was measured
        write_run(run, report.run, tag=report.mode or "retrieval", exact_scores=exact_scores)
        note(f"wrote the run to {run}")
