"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from retrieval.errors import QueryError

if TYPE_CHECKING:
    from retrieval.collection.collection import Collection

Command = TypeVar("Command", bound=Callable[..., Any])

SEARCHER_KINDS = ("exact", "hnsw", "ivf_pq", "int8", "binary")

POLICIES = "PRESET[,NAME=VALUE...]"
POLICIES_HELP = "engine, trec_eval, mteb or beir, with others than its own behind it: missing=skip, unjudged=condensed"

index_argument = click.argument("index", metavar="INDEX", type=click.Path(path_type=Path))
json_option = click.option("--json", "as_json", is_flag=True, help="Write JSON to standard output, and nothing else.")
k_option = click.option(
    "-k", "k", type=int, default=10, metavar="N", show_default=True, help="How many documents to return at most."
)
where_option = click.option(
    "--where",
    metavar="FILTER",
    help="Only documents whose metadata pass: 'year >= 2020 and lang in [en, de]', or its JSON form.",
)
explain_option = click.option(
    "--explain", is_flag=True, help="Say why each document was found: terms, similarity, ranks."
)

_RANKING = (
    click.option(
        "--mode",
        type=click.Choice(["hybrid", "bm25", "dense", "sparse"]),
        help="What to search by; hybrid where the index has vectors, bm25 elsewhere.",
    ),
    click.option(
        "--stages",
        metavar="STAGES",
        help="A pipeline instead of a mode, such as bm25:1000+dense:1000,mono:50: retrievers with the depth of their "
        "lists (bm25, dense, sparse, hybrid), fused, then rerankers with the number of documents each admits. "
        "'bm25(rm3):1000' lets the best documents change the query (bm25: rm3, rocchio; dense, sparse: average, "
        "rocchio), with parameters: 'bm25(rm3, documents=10, terms=20)'.",
    ),
    click.option(
        "--reranker",
        "rerankers",
        metavar="NAME=MODEL",
        multiple=True,
        help="The model of a stage: folder or name of a cross-encoder, or folder of a pairwise reranker; behind it any "
        "settings, as in mono=FOLDER,precision=int8,exit_entropy=0.1.",
    ),
    click.option(
        "--passages",
        metavar="NAME=METHOD[,SETTING=N...]",
        multiple=True,
        help="Let a stage's model read whole documents by passages and combine their scores: max, first, sum, mean or "
        "decayed, as in mono=max or mono=mean,best=3,words=150,stride=75,most=30.",
    ),
    where_option,
    click.option("--exact", is_flag=True, help="Score every vector, even where there is an approximate searcher."),
    click.option("--k1", type=float, metavar="X", help="BM25's k1, instead of the index's."),
    click.option("--b", type=float, metavar="X", help="BM25's b, instead of the index's."),
    click.option("--fusion", type=click.Choice(["rrf", "weighted"]), help="How hybrid search fuses its lists."),
    click.option("--dense-weight", type=float, metavar="X", help="Weight of the dense list, 0 to 1."),
    click.option("--sparse-weight", type=float, metavar="X", help="Weight of the sparse list, 0 to 1."),
    click.option(
        "--aggregate",
        type=click.Choice(["max", "first", "mean", "decayed"]),
        help="A document's score by vectors: its best passage's (max), its first one's, the mean of the best ones or a "
        "decaying sum.",
    ),
    click.option("--best", type=int, metavar="N", help="Passages that count for --aggregate mean (3)."),
    click.option(
        "--decay", type=float, metavar="X", help="What each next passage counts for --aggregate decayed (0.5)."
    ),
)


def ranking_options(command: Command) -> Command:
    """Give a command the options that decide how documents are ranked; it gets them as keyword arguments."""
    for option in reversed(_RANKING):
        command = option(command)
    return command


def search_options(
    collection: Collection,
    *,
    mode: str | None,
    stages: str | None,
    rerankers: tuple[str, ...],
    passages: tuple[str, ...],
    where: str | None,
    exact: bool,
    k1: float | None,
    b: float | None,
    fusion: str | None,
    dense_weight: float | None,
    sparse_weight: float | None,
    aggregate: str | None,
    best: int | None,
    decay: float | None,
) -> dict[str, Any]:
    """Return what `ranking_options` gave as arguments of the collection's searches, without what was left out.

    Raises:
        FilterError: the filter cannot be understood.
        QueryError: a parameter is out of its range, or the stages make no sense.
        RerankerError: a stage's model cannot be loaded.
    """
    from indexes.aggregation import BEST_PASSAGE
    from retrieval.cli.stages import pipeline_options

    for method, option, value in (("mean", "--best", best), ("decayed", "--decay", decay)):
        if value is not None and aggregate != method:
            raise QueryError(f"{option} is of --aggregate {method}; leave it out, or give that as well")
    options = {
        "mode": mode,
        "where": parsed_filter(where),
        "exact": exact or None,
        "bm25": _changed(collection.settings.bm25, {"k1": k1, "b": b}),
        "aggregate": _changed(BEST_PASSAGE, {"method": aggregate, "best": best, "decay": decay}),
        "fusion": _changed(
            collection.settings.fusion,
            {"method": fusion, "dense_weight": dense_weight, "sparse_weight": sparse_weight},
        ),
    }
    given = {name: value for name, value in options.items() if value is not None}
    return given | pipeline_options(collection, stages, rerankers, passages, mode)  # last: models take seconds to load


def parsed_filter(where: str | None) -> Any:
    """Return the filter that `--where` names; None without one."""
    if where is None:
        return None
    from retrieval.filters import parse_filter

    return parse_filter(where)


def measure_names(given: tuple[str, ...]) -> list[str]:
    """Return the names that `--measures` gave, split at spaces and at commas that are outside parentheses.

    Raises:
        MeasureError: there is no such measure; called first, that is said before anything is opened.
    """
    names = [name for text in given for name in re.split(r"[\s,]+(?![^()]*\))", text) if name]
    if names:
        from eval.measure_names import parse_measures

        parse_measures(names)
    return names


def check_k(k: int | None) -> None:
    """Refuse a k that asks for nothing, before anything is opened."""
    if k is not None and k < 1:
        raise QueryError(f"k must be at least 1, not {k}")


def _changed(settings: Any, values: dict[str, Any]) -> Any:
    """Return settings with other values where some are given, None where none is."""
    from dataclasses import replace

    given = {name: value for name, value in values.items() if value is not None}
    if not given:
        return None
    try:
        return replace(settings, **given)
    except ValueError as error:  # the index floor's settings know no users and raise this one
        raise QueryError(str(error)) from None
