"""Lexical indexing against bm25s and tantivy: `python -m eval.benchmarks.lexical_indexing`.

A collection analyses, inverts and writes durable, checksummed files that later changes can build on; bm25s tokenises
and builds its score matrix in memory; tantivy tokenises and writes files, with as many threads as it likes. Scores over
the same terms are compared with bm25s's first.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from eval.benchmarks.peers.installed import missing, peer_versions
from eval.benchmarks.processes import interleaved, ratios, run_worker, spread_of
from eval.benchmarks.short_texts import short_texts
from eval.benchmarks.workers import write_texts
from eval.command_line import DATA, Data, Json, show
from eval.errors import ReproductionError
from eval.outcome import Outcome
from eval.provenance import package_versions

_TOLERANCE = 1e-4  # bm25s adds up in float32
_MIB = 1 << 20
_LABELS = {
    "ours": "collection, on disk",
    "bm25s": "bm25s, tokenise + index",
    "tantivy": "tantivy, tokenise + index, on disk",
}


def measure(data: Path, n: int = 200_000, source: str = "real", repeats: int = 3) -> Outcome:
    """Index the same texts with each, in fresh processes.

    Args:
        data: folder of test collections.
        n: number of texts.
        source: "real" or "synthetic", see `short_texts`.
        repeats: measured rounds; an earlier one warms caches up and is checked.

    Raises:
        ReproductionError: the scores differ, or a process failed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        texts, index = Path(temporary) / "texts.jsonl", Path(temporary) / "index"
        write_texts(texts, short_texts(n, source, data))
        run_worker(["index-with-collection", str(texts), str(index)])
        compared = run_worker(["compare-lexical-scores", str(texts), str(index)])
        if compared["largest_difference"] > _TOLERANCE:
            raise ReproductionError(
                f"scores differ from bm25s by {compared['largest_difference']:g}; nothing was timed"
            )
        run_worker(["index-with-bm25s", str(texts)])
        other = Path(temporary) / "tantivy"
        sides = {"ours": ["index-with-collection", str(texts), str(index)], "bm25s": ["index-with-bm25s", str(texts)]}
        if missing("tantivy") is None:
            sides["tantivy"] = ["index-with-tantivy", str(texts), str(other)]
            run_worker(sides["tantivy"])

        def remove() -> None:
            shutil.rmtree(index)
            shutil.rmtree(other, ignore_errors=True)

        remove()
        measured = interleaved(sides, repeats, after_round=remove)
    ours, theirs = measured["ours"], measured["bm25s"]
    against = {side: ratios(ours, measured[side], "seconds") for side in sides if side != "ours"}
    memory = {side: ratios(ours, measured[side], "peak") for side in against}
    rows = [
        [
            name,
            spread_of(side, "seconds").text(2, " s"),
            f"{n / spread_of(side, 'seconds').median:,.0f}",
            f"{spread_of(side, 'peak').median / _MIB:,.0f} MiB",
            f"{spread_of(side, 'bytes').median / _MIB:,.0f} MiB" if spread_of(side, "bytes").median else "in memory",
        ]
        for name, side in ((_LABELS[side], measured[side]) for side in sides)
    ]
    notes = [
        f"{n:,} texts ({source}), {repeats} rounds in fresh processes, alternating; median (lowest to highest)",
        *(f"time of ours / time of {side}, round by round: {ratio.text(2)}" for side, ratio in against.items()),
        *(f"peak memory of ours / of {side}, round by round: {ratio.text(2)}" for side, ratio in memory.items()),
        f"peak memory includes the interpreter and the texts (before indexing "
        f"{spread_of(ours, 'before').median / _MIB:,.0f} and {spread_of(theirs, 'before').median / _MIB:,.0f} MiB)",
        f"checked first: the ten best scores of {compared['queries']} queries equal bm25s's over the same terms to "
        f"{compared['largest_difference']:.1g}",
        *([said] if (said := missing("tantivy")) else []),
    ]
    numbers = {"n": n, "source": source, **measured, "ratio": against["bm25s"], "ratios": against, "memory": memory}
    numbers["check"] = compared
    versions = {**package_versions(), **peer_versions()}
    columns = ["side", "seconds", "texts / s", "peak memory", "index"]
    return Outcome(f"Lexical indexing, {n:,} {source} texts", columns, rows, notes, numbers, versions=versions)


def main(
    data: Data = DATA,
    n: Annotated[int, typer.Option(help="Number of texts.")] = 200_000,
    source: Annotated[str, typer.Option(help="'real' or 'synthetic' texts.")] = "real",
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds.")] = 3,
    json: Json = None,
) -> None:
    """Index many short texts lexically, beside bm25s and tantivy."""
    show(lambda: measure(data, n, source, repeats), json)


if __name__ == "__main__":
    typer.run(main)
