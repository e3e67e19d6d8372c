"""How BM25 grows: time and memory of building and searching 10^4 to 4 * 10^6 texts: `python -m eval.benchmarks.growth`.

The last two sizes give an exponent for each quantity, from which MS MARCO's 8.8 million passages are extrapolated: on
paper, with the assumptions written below the table.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from eval.benchmarks.peers.lexical import default_analyser
from eval.benchmarks.processes import Spread, run_worker
from eval.benchmarks.short_texts import word_model
from eval.command_line import DATA, Data, Json, show
from eval.outcome import Outcome

SIZES = (10_000, 100_000, 1_000_000, 4_000_000)
PASSAGES = 8_841_823
"""Passages of MS MARCO."""

_WORKER = "eval.benchmarks.growth_worker"
_POOL = "msmarco-dl19"  # real passages of MS MARCO, whose lengths are taken
_MIB = 1 << 20
_SAMPLE = 2_000
_SHOWN = "5-10"


def measure(data: Path, sizes: Sequence[int] = SIZES, n_queries: int = 200, repeats: int = 3) -> Outcome:
    """Build and search a collection of each size, in processes of their own.

    Args:
        data: folder of test collections, to which the synthetic texts are fitted.
        sizes: numbers of texts, ascending.
        n_queries: of each length.
        repeats: measured rounds of searching; building is measured once.

    Raises:
        ReproductionError: a process failed.
    """
    measured = []
    for n in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            index = str(Path(temporary) / "index")
            built = run_worker(["build", str(n), str(data), index], _WORKER)
            found = run_worker(["search", str(n), str(data), index, str(n_queries), str(repeats)], _WORKER, cores=1)
        measured.append({"n": n, "build": built, "search": found})
    terms = _terms_per_text(data)
    extrapolated = _extrapolated(measured, terms["passage"] / terms["synthetic"])
    rows = [*map(_row, measured), *([extrapolated["row"]] if extrapolated else [])]
    notes = [
        f"synthetic short texts, indexed as a stream and compacted, with all cores; searched on one core: {n_queries} "
        f"queries of {_SHOWN} words, {repeats} rounds",
        "peak memory of indexing includes the interpreter; memory of searching is what it adds, mapped files aside",
        *(extrapolated["notes"] if extrapolated else []),
    ]
    columns = ["texts", "index", "of it compact", "peak memory", "on disk"]
    columns += ["k = 10, ms a query", "k = 1,000", "p99, k = 10", "memory of searching"]
    numbers = {"sizes": measured, "terms": terms, "extrapolated": extrapolated.get("numbers")}
    return Outcome("Growth, BM25", columns, rows, notes, numbers)


def quantities(row: Mapping[str, Any]) -> dict[str, float]:
    """Return what is extrapolated of one size: seconds, bytes, and milliseconds of a query."""
    found = {(each["words"], each["k"]): each for each in row["search"]["rows"]}
    queries = row["search"]["queries"]
    return {
        "index": row["build"]["seconds"] + row["build"]["compacting"],
        "bytes": float(row["build"]["bytes"]),
        **{f"k={k}": Spread.of(found[_SHOWN, k]["seconds"]).median / queries * 1000 for k in (10, 1000)},
    }


def exponent(small: float, large: float, n_small: int, n_large: int) -> float:
    """Return e such that the quantity grows as n^e between two sizes."""
    return math.log(large / small) / math.log(n_large / n_small)


def _row(row: Mapping[str, Any]) -> list[str]:
    built, value = row["build"], quantities(row)
    p99 = next(r["milliseconds"]["p99"] for r in row["search"]["rows"] if (r["words"], r["k"]) == (_SHOWN, 10))
    return [
        f"{row['n']:,}",
        f"{value['index']:,.1f} s",
        f"{built['compacting']:,.1f} s",
        f"{built['peak'] / _MIB:,.0f} MiB",
        f"{built['bytes'] / _MIB:,.0f} MiB",
        f"{value['k=10']:.3f}",
        f"{value['k=1000']:.3f}",
        f"{p99:.3f} ms",
        f"{row['search']['anonymous'] / _MIB:,.0f} MiB",
    ]


def _extrapolated(measured: Sequence[Mapping[str, Any]], longer: float) -> dict[str, Any]:
    """Return the last row, its notes and numbers; empty with fewer than two sizes."""
    if len(measured) < 2:
        return {}
    small, large = measured[-2:]
    before, after = quantities(small), quantities(large)
    powers = {name: exponent(before[name], after[name], small["n"], large["n"]) for name in after}
    value = {name: after[name] * longer * (PASSAGES / large["n"]) ** powers[name] for name in after}
    grown = {name: f"{power:.2f}" for name, power in powers.items()}
    row = [
        f"{PASSAGES:,} *",
        f"{value['index']:,.0f} s",
        "–",
        "–",
        f"{value['bytes'] / _MIB:,.0f} MiB",
        f"{value['k=10']:.2f}",
        f"{value['k=1000']:.2f}",
        "–",
        "–",
    ]
    notes = [
        "* not measured: MS MARCO's passages on paper. Assumed: each quantity goes on growing as n^e, as between the "
        f"last two sizes (e: index {grown['index']}, bytes {grown['bytes']}, k = 10 {grown['k=10']}, k = 1,000 "
        f"{grown['k=1000']}); a passage has {longer:.2f} times the terms of a synthetic text, and everything grows in "
        "proportion to them; the index fits into memory as page cache; words and queries are distributed as in the "
        "synthetic texts",
    ]
    return {"row": row, "notes": notes, "numbers": {"values": value, "exponents": powers, "longer": longer}}


def _terms_per_text(data: Path) -> dict[str, float]:
    """Return mean numbers of terms of synthetic texts and of real passages; 1 for both where there are no passages."""
    from retrieval.documents import read_documents

    analyser = default_analyser()
    synthetic = float(np.mean([len(analyser.terms(text)) for text in word_model(data).sample(_SAMPLE)]))
    if not (data / _POOL).is_dir():
        return {"synthetic": synthetic, "passage": synthetic}
    passages = islice(read_documents(data / _POOL, format="beir"), _SAMPLE)
    return {
        "synthetic": synthetic,
        "passage": float(np.mean([len(analyser.terms(passage.full_text)) for passage in passages])),
    }


def main(
    data: Data = DATA,
    size: Annotated[list[int] | None, typer.Option(min=1, help="Number of texts; may be repeated.")] = None,
    queries: Annotated[int, typer.Option(min=1, help="Queries of each length.")] = 200,
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds of searching.")] = 3,
    json: Json = None,
) -> None:
    """Build and search collections of growing size."""
    show(lambda: measure(data, sorted(size or SIZES), queries, repeats), json)


if __name__ == "__main__":
    typer.run(main)
