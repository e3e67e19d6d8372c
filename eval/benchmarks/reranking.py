"""Pointwise reranking against `CrossEncoder.predict`: `python -m eval.benchmarks.reranking --data ../shared/data`.

The same model in memory, the same candidates, the texts of a query distinct: BM25's hundred of MS MARCO, WikiQA's
sentences of like length and ANTIQUE's answers of three words to three hundred. The library sorts pairs by characters
and takes 32 at a time; the engine runs without padding and computes the last layer for the [CLS] token alone. Scores
are compared first.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from eval.benchmarks.encoding_sides import NO_BF16
from eval.benchmarks.in_turn import times_slower
from eval.benchmarks.processes import Spread, run_worker
from eval.benchmarks.reranking_worker import REFERENCE
from eval.candidates import candidates_of_run
from eval.command_line import DATA, Data, Json, show
from eval.errors import EvaluationError, ReproductionError
from eval.outcome import Outcome
from eval.runs import read_run
from eval.testsets import read_testset
from eval.text_files import find_file, numbered_lines

QUERIES = {"msmarco-v2-dl21": 50, "wikiqa-rerank": 40, "antique-rerank": 8}
"""Collections, and how many of their test queries are taken, the first ones."""

NAMES = {"msmarco-v2-dl21": "MS MARCO", "wikiqa-rerank": "WikiQA", "antique-rerank": "ANTIQUE"}

RUNS = {"msmarco-v2-dl21": "runs/top100.bm25.trec.gz"}
"""Where candidates stand in a run file; elsewhere in the file of test queries."""

_WORKER = "eval.benchmarks.reranking_worker"
_TOLERANCE = 1e-5
_COLUMNS = 4  # query id, label, query, passage


def measure(data: Path, *, share: float = 1.0, repeats: int = 3, cores: int = 1) -> Outcome:
    """Score candidates with both, in one process for each collection, in turn.

    Args:
        data: folder of test collections.
        share: of the queries in `QUERIES`.
        repeats: measured rounds; earlier ones warm up and are checked.
        cores: processors that a process is confined to.

    Raises:
        EvaluationError: a collection is missing or cannot be read.
        ReproductionError: scores differ, or a process failed.
    """
    measured: dict[str, Any] = {}
    for name, full in QUERIES.items():
        n = max(2, round(full * share))
        lists = run_lists(data / name, RUNS[name], n) if name in RUNS else list(candidate_lists(data / name, n))
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / "candidates.jsonl"
            path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in lists))
            found = run_worker(["compare", str(path), str(repeats)], _WORKER, cores=cores)
        check(name, found["differences"])
        measured[name] = {"queries": len(lists), **found}
    columns = ["candidates", "side", "seconds", "times faster", "padding", "largest difference"]
    rows = [
        row(f"{NAMES[name]}, {way}", side, found, way)
        for name, found in measured.items()
        for way in found["ways"]
        for side in found["differences"]
    ]
    sizes = "; ".join(
        f"{NAMES[name]} {each['queries']} queries, {each['pairs']:,} pairs" for name, each in measured.items()
    )
    notes = [
        f"{sizes}, the texts of a query distinct; MiniLM-L6 with a random head of one logit, {cores} "
        f"core{'s' * (cores > 1)}; predict: `CrossEncoder.predict` with its defaults; without a precision fp32"
        + ("" if any("bf16" in row[1] for row in rows) else f"; bf16 is left out: {NO_BF16}"),
        f"median of {repeats} rounds in one process, in turn, with the range; times faster than predict: round by "
        "round",
        "at once: all pairs in one call, the best case of the library; one by one: a call for each query, as in search",
        "padding: tokens that go through the model / tokens of the pairs; beside it, the engine computes 5/6 of the "
        "last of six layers for one token only",
        "checked first: scores against predict's at once; their standard deviation is "
        f"{min(each['spread'] for each in measured.values()):.2g} or more",
    ]
    return Outcome("Reranking", columns, rows, notes, {"measured": measured})


def check(name: str, differences: Mapping[str, float]) -> None:
    """Refuse fp32 scores that are not the library's.

    Raises:
        ReproductionError: naming collection, side and difference.
    """
    for side, difference in differences.items():
        if "bf16" not in side and not difference <= _TOLERANCE:
            raise ReproductionError(f"scores of {side} on {name} differ by {difference:.2g}; nothing is reported")


def run_lists(folder: Path, run: str, n: int) -> list[dict[str, Any]]:
    """Return the first n queries of a test set with the distinct texts that a run file ranks, the best first.

    The engine scores equal texts of a query once, which is not what is measured here.

    Args:
        folder: in BEIR's layout.
        run: TREC run file, below the folder.
        n: queries.

    Raises:
        EvaluationError: there is no such test set or run.
    """
    lists, _ = candidates_of_run(read_run(folder / run), read_testset(folder))
    return [{"query": each.query, "texts": list(dict.fromkeys(each.candidates.texts))} for each in lists[:n]]


def candidate_lists(folder: Path, n: int) -> Iterator[dict[str, Any]]:
    """Yield the first n queries of a test set with their passages, each once.

    Args:
        folder: with `test.tsv` of query id, label, query and passage below a header, lines of a query together.
        n: queries.

    Raises:
        EvaluationError: there is no such file, or a line has other columns.
    """
    file = find_file(folder / "test.tsv")
    if file is None:
        raise EvaluationError(f"{folder} has no test.tsv of candidates to rerank")
    current, query, texts, yielded = None, "", list[str](), 0
    for number, line in numbered_lines(file, EvaluationError):
        if number == 1:
            continue
        fields = line.split("\t")
        if len(fields) != _COLUMNS:
            raise EvaluationError(f"{file}, line {number}: {len(fields)} columns, not {_COLUMNS}")
        if fields[0] != current:
            if texts:
                yield {"query": query, "texts": list(dict.fromkeys(texts))}
                yielded += 1
            if yielded == n:
                return
            current, query, texts = fields[0], fields[2], []
        texts.append(fields[3])
    if texts:
        yield {"query": query, "texts": list(dict.fromkeys(texts))}


def row(name: str, side: str, found: Mapping[str, Any], way: str) -> list[str]:
    """Return the row of a side."""
    measured = found["ways"][way]
    seconds = measured["seconds"]
    return [
        name,
        side,
        Spread.of(seconds[side]).text(2),
        times_slower(seconds[REFERENCE], seconds[side]).text(2),
        f"{measured['padding'][side]:.2f}",
        f"{found['differences'][side]:.1g}",
    ]


def main(
    *,
    data: Data = DATA,
    share: Annotated[float, typer.Option(min=0, max=1, help="Share of the queries, to try it.")] = 1.0,
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds.")] = 3,
    cores: Annotated[int, typer.Option(min=1, help="Processors of the process.")] = 1,
    json: Json = None,
) -> None:
    """Score the candidates of MS MARCO, WikiQA and ANTIQUE with a cross-encoder."""
    show(lambda: measure(data, share=share, repeats=repeats, cores=cores), json)


if __name__ == "__main__":
    typer.run(main)
