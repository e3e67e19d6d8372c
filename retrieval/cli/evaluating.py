"""`retrieval evaluate`: what an index finds, measured on a test set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from retrieval.cli.kernels import announce_compilation
from retrieval.cli.options import K1, B, DenseWeight, Exact, FusionMethod, Index, Json, Mode, Where, ranking
from retrieval.cli.terminal import note, shows_progress, write_json, write_renderable
from retrieval.errors import QueryError

_LATENCY_SAMPLE = 200


def evaluate(
    index: Index,
    dataset: Annotated[
        Path,
        typer.Argument(metavar="DATASET", help="A folder in BEIR's or MS MARCO's layout.", show_default=False),
    ],
    *,
    split: Annotated[
        str | None, typer.Option("--split", metavar="NAME", help="Which judgements.", show_default="test")
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", metavar="NAME", help="Which language of a multilingual set.", show_default=False),
    ] = None,
    measures: Annotated[
        list[str] | None,
        typer.Option(
            "--measures",
            metavar="NAMES",
            help="Names as in ir_measures, separated by spaces.",
            show_default="nDCG@10 R@100 RR@10 AP@100",
        ),
    ] = None,
    k: Annotated[
        int | None,
        typer.Option(
            "--k", "-k", metavar="N", help="Documents to retrieve a query.", show_default="as deep as the measures look"
        ),
    ] = None,
    mode: Mode = None,
    where: Where = None,
    exact: Exact = False,
    k1: K1 = None,
    b: B = None,
    fusion: FusionMethod = None,
    dense_weight: DenseWeight = None,
    ignore_identical_ids: Annotated[
        bool,
        typer.Option(
            "--ignore-identical-ids", help="Leave out documents with the query's id, as BEIR does for ArguAna."
        ),
    ] = False,
    latency: Annotated[
        int, typer.Option("--latency", metavar="N", help="Single searches to time; 0 for none.", min=0)
    ] = _LATENCY_SAMPLE,
    run: Annotated[
        Path | None,
        typer.Option("--run", metavar="FILE", help="Write the rankings as a TREC run file.", show_default=False),
    ] = None,
    per_query: Annotated[bool, typer.Option("--per-query", help="With --json: also the values of each query.")] = False,
    json: Json = False,
) -> None:
    """Run a test set's queries and measure what is found; every judged query counts.

    The index must hold the test set's documents: `retrieval index my.index DATASET` first.
    """
    from eval.measures import DEFAULT_MEASURES, Policies
    from eval.runner import evaluate_collection
    from eval.runs import write_run
    from eval.testsets import read_testset
    from retrieval.collection.collection import Collection

    if k is not None and k < 1:
        raise QueryError(f"k must be at least 1, not {k}")
    announce_compilation()
    with Collection.open(index) as collection:
        testset = read_testset(dataset, split, language)
        options = {
            "mode": mode,
            "where": where,
            "exact": exact or None,
            **ranking(collection, k1, b, fusion, dense_weight),
        }
        report = evaluate_collection(
            collection,
            testset,
            _names(measures) or list(DEFAULT_MEASURES),
            k=k,
            policies=Policies(ignore_identical_ids=ignore_identical_ids),
            latency_sample=latency,
            progress=shows_progress(),
            **{name: value for name, value in options.items() if value is not None},
        )
    if run is not None:
        write_run(run, report.run, tag=report.mode or "retrieval")
        note(f"wrote the run to {run}")
    if json:
        write_json(report.as_dict(per_query=per_query))
    else:
        write_renderable(report.table())


def _names(measures: list[str] | None) -> list[str]:
    """Split at spaces and at commas that are outside parentheses."""
    return [name for given in measures or [] for name in re.split(r"[\s,]+(?![^()]*\))", given) if name]
