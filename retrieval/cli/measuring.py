"""`retrieval measure`: run files, this engine's or others', measured against judgements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrieval.cli.options import POLICIES, POLICIES_HELP, json_option, measure_names
from retrieval.cli.terminal import write_json, write_renderable

if TYPE_CHECKING:
    from rich.console import Group

    from eval.measures import Evaluation
    from eval.protocols import Protocol


@click.command(short_help="Measure run files against judgements.")
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--qrels",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Judgements: TREC's or BEIR's file, or the folder of a test set.",
)
@click.option("--split", metavar="NAME", help="Of a folder: which judgements (test).")
@click.option(
    "--protocol",
    metavar="NAME",
    help="Measures, depth and policies of msmarco-passage or of trec-dl-2019-passage, …-2020-…, …-2021-….",
)
@click.option(
    "--measures", metavar="NAMES", multiple=True, help="As for evaluate; by default its own, or the protocol's."
)
@click.option("--depth", type=click.IntRange(min=1), metavar="N", help="Documents of a query that are looked at (all).")
@click.option("--relevant", type=click.IntRange(min=1), metavar="GRADE", help="Lowest relevant grade (1).")
@click.option(
    "--policies",
    metavar=POLICIES,
    help=f"Whose way with ties and missing queries (engine): {POLICIES_HELP}.",
)
@click.option("--per-query", is_flag=True, help="With --json: also the values of each query.")
@json_option
def measure(
    runs: tuple[Path, ...],
    *,
    qrels: Path,
    split: str | None,
    protocol: str | None,
    measures: tuple[str, ...],
    depth: int | None,
    relevant: int | None,
    policies: str | None,
    per_query: bool,
    as_json: bool,
) -> None:
    """Measure run files (TREC's six columns, or MS MARCO's two or three) against the same judgements.

    Nothing is searched: the files say what was found. Every judged query counts, unless the policies say otherwise.
    """
    from eval.candidates import read_candidate_run

    chosen = _protocol(protocol, measure_names(measures), depth, relevant, policies)
    judged = _qrels(qrels, split)
    found = {str(path): chosen.evaluate(read_candidate_run(path), judged) for path in dict.fromkeys(runs)}
    if as_json:
        write_json(_as_dict(chosen, found, per_query=per_query))
    else:
        write_renderable(_table(chosen, found))


def _protocol(
    name: str | None, measures: list[str], depth: int | None, relevant: int | None, policies: str | None
) -> Protocol:
    """Return the protocol of that name with what else was asked for instead of its own."""
    from dataclasses import replace

    from eval.measures import DEFAULT_MEASURES, Policies
    from eval.protocols import Protocol, protocol

    given = protocol(name) if name else Protocol("", tuple(DEFAULT_MEASURES), depth=None)
    ways = given.policies
    if policies is not None:
        ways = Policies.parse(policies)
        if "relevance_level" not in policies:  # a preset says nothing of grades, a protocol does
            ways = replace(ways, relevance_level=given.policies.relevance_level)
    if relevant is not None:
        ways = replace(ways, relevance_level=relevant)
    return replace(given, measures=tuple(measures) or given.measures, depth=depth or given.depth, policies=ways)


def _qrels(path: Path, split: str | None) -> dict[str, dict[str, int]]:
    from eval.errors import EvaluationError
    from eval.qrels import read_qrels
    from eval.testsets import read_testset

    if path.is_dir():
        return {query: dict(grades) for query, grades in read_testset(path, split).qrels.items()}
    if split is not None:
        raise EvaluationError(f"{path} is a file and has no split {split!r}; leave --split out")
    return read_qrels(path)


def _as_dict(protocol: Protocol, found: dict[str, Evaluation], *, per_query: bool) -> dict[str, Any]:
    runs = {
        name: {
            "measures": each.measures,
            "queries": {
                "judged": len(each.per_query) + each.skipped,
                "missing": len(each.missing),
                "without_relevant": each.without_relevant,
                "unjudged": each.unjudged_queries,
                "skipped": each.skipped,
            },
            "other_ties": each.other_ties,
            **({"per_query": each.per_query} if per_query else {}),
        }
        for name, each in found.items()
    }
    return {
        "protocol": protocol.name or None,
        "depth": protocol.depth,
        "policies": protocol.policies.describe(),
        "runs": runs,
    }


def _table(protocol: Protocol, found: dict[str, Evaluation]) -> Group:
    from rich import box
    from rich.console import Group
    from rich.table import Table

    values = Table(box=box.SIMPLE_HEAD)
    values.add_column("run", overflow="fold")
    names = list(next(iter(found.values())).measures)
    for name in names:
        values.add_column(name, justify="right")
    unique = len({Path(run).name for run in found}) == len(found)
    labels = {run: Path(run).name if unique else run for run in found}
    for run, each in found.items():
        values.add_row(labels[run], *(f"{each.measures[name]:.4f}" for name in names))
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for run, each in found.items():
        said = f"{len(each.per_query):,} count, {len(each.missing):,} without results"
        if each.other_ties:
            ties = ", ".join(f"{name} {value:.4f}" for name, value in each.other_ties.items())
            said += f"; {each.tied:,} hang on equal scores, which in the other order give {ties}"
        facts.add_row(f"queries, {labels[run]}", said)
    for policy, sentence in protocol.policies.describe().items():
        facts.add_row(policy, sentence)
    return Group(values, facts)
