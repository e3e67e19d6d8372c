"""BM25 search against bm25s, tantivy and rank-bm25: `python -m eval.benchmarks.lexical_search`.

Same texts, same terms, same k, through the public search that returns string ids, on a compacted collection and on one
of several segments with 5 % deleted; on one core and on all. Scores are compared with bm25s's before they are timed.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import typer

from eval.benchmarks.in_turn import times_slower
from eval.benchmarks.lexical_search_worker import Plan, write_collection
from eval.benchmarks.peers.installed import RETRIV, missing, peer_versions
from eval.benchmarks.peers.lexical import default_analyser
from eval.benchmarks.processes import Spread, n_cores, run_worker
from eval.benchmarks.query_spans import LENGTHS, query_spans
from eval.benchmarks.text_collections import TextCollection, text_collection
from eval.command_line import DATA, Data, Json, show_all
from eval.errors import EvaluationError, ReproductionError
from eval.outcome import Outcome
from eval.provenance import package_versions

_TOLERANCE = 1e-4  # bm25s adds up in float32
_WORKER = "eval.benchmarks.lexical_search_worker"
_SLOW_QUERIES = 3
_SWEEP = [1, 10, 100, 1000]
_COLUMNS = ["collection", "k", "words", "ours, queries/s", "bm25s, queries/s"]
_COLUMNS += ["bm25s's time / ours", "tantivy's time / ours *"]
_COLUMNS_ALONE = ["rank-bm25's time / ours *", "p50 / p99 ours, ms", "bm25s, ms", "tantivy, ms"]


def measure(
    collection: TextCollection,
    n_queries: int = 300,
    ks: Sequence[int] = (10, 1000),
    repeats: int = 5,
    slow: int = _SLOW_QUERIES,
) -> list[Outcome]:
    """Measure one collection on one core and, where there are more, on all.

    Args:
        collection: texts and their own queries.
        n_queries: of each length.
        ks: numbers of results.
        repeats: measured rounds.
        slow: queries of each length for rank-bm25; 0 leaves it out.

    Raises:
        ReproductionError: the scores differ from bm25s's, or a process failed.
    """
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_collection(work, collection.texts)
        prepared = run_worker(["prepare", str(work)], _WORKER)
        queries = _queries(collection, n_queries)
        outcomes = []
        for cores in (1, None) if n_cores() > 1 else (1,):
            alone = cores == 1
            plan = Plan(
                queries, list(ks), repeats, singles=n_queries if alone else 0, slow=slow if alone else 0, sweep=_SWEEP
            )
            (work / "plan.json").write_bytes(msgspec.json.encode(plan))
            found = run_worker(["measure", str(work), str(work / "plan.json")], _WORKER, cores)
            outcomes.append(_outcome(collection.name, found, prepared))
    return outcomes


def _queries(collection: TextCollection, n: int) -> dict[str, list[str]]:
    analyser = default_analyser()
    queries = {}
    for name, lengths in LENGTHS.items():
        try:
            queries[name] = query_spans(collection.texts.texts, n, lengths, lambda text: bool(analyser.terms(text)))
        except EvaluationError:  # texts shorter than such queries
            continue
    own = [query for query in collection.own_queries if analyser.terms(query)]
    if own:
        chosen = np.random.default_rng(0).choice(len(own), min(n, len(own)), replace=False)
        queries["own"] = [own[number] for number in chosen]
    return queries


def _outcome(name: str, found: Mapping[str, Any], prepared: Mapping[str, Any]) -> Outcome:
    differences = [check["largest_difference"] for check in found["checks"] if "largest_difference" in check]
    wrong = [value for value in differences if value < 0 or value > _TOLERANCE]
    if wrong:
        said = "their lists are not of the same length" if min(wrong) < 0 else f"by {max(wrong):g}"
        raise ReproductionError(f"scores on {name!r} differ from bm25s's ({said}): the timings are discarded")
    singles = {(row["state"], row["words"], row["k"]): row["milliseconds"] for row in found["singles"]}
    slow = {("compacted", row["words"], row["k"]): row for row in found.get("slow", [])}
    rows = [_row(batch, found, singles, slow) for batch in found["batches"]]
    threads = "one core" if found["threads"] == 1 else f"{found['threads']} cores"
    numbers = {"collection": name, **found, "texts": prepared["texts"], "living": prepared["living"]}
    versions = {**package_versions(), **peer_versions()}
    title = f"BM25 search, {name}, {threads}"
    columns = [*_COLUMNS, *(_COLUMNS_ALONE if found["threads"] == 1 else [])]
    return Outcome(title, columns, rows, _notes(name, found, prepared, differences), numbers, versions=versions)


def _row(
    batch: Mapping[str, Any],
    found: Mapping[str, Any],
    singles: Mapping[tuple[str, str, int], Any],
    slow: Mapping[tuple[str, str, int], Any],
) -> list[str]:
    key = (batch["state"], batch["words"], batch["k"])
    seconds, few, single = batch["seconds"], slow.get(key), singles.get(key, {})
    segments = found["segments"][batch["state"]]["ours"]
    label = "compacted" if batch["state"] == "compacted" else f"{segments} segments, 5 % deleted"

    def rate(side: str) -> str:
        return f"{batch['queries'] / Spread.of(seconds[side]).median:,.0f}" if side in seconds else "–"

    def ratio(side: str, times: Mapping[str, list[float]]) -> str:
        return times_slower(times[side], times["ours"]).text(1) if side in times else "–"

    def latency(side: str) -> str:
        return f"{single[side]['p50']:.2f} / {single[side]['p99']:.2f}" if side in single else "–"

    alone = [ratio("rank-bm25", few["seconds"]) if few else "–", *map(latency, ("ours", "bm25s", "tantivy"))]
    return [
        label,
        f"{batch['k']:,}",
        batch["words"],
        rate("ours"),
        rate("bm25s"),
        ratio("bm25s", seconds),
        ratio("tantivy", seconds),
        *(alone if found["threads"] == 1 else []),
    ]


def _notes(name: str, found: Mapping[str, Any], prepared: Mapping[str, Any], differences: Sequence[float]) -> list[str]:
    sample = found["batches"][0]
    notes = [
        f"{prepared['texts']:,} texts ({name}), {prepared['living']:,} of them left in the collection of several "
        "segments, from whose texts the peers are built too",
        f"{sample['queries']} queries of each length (spans of consecutive words of random texts; 'own': the "
        f"collection's), {len(sample['seconds']['ours'])} rounds in one process, the sides taking turns; ratios round "
        "by round, median (lowest to highest)",
        "the analysis of the query strings by this engine's analyser and the lists of string ids count on every side",
    ]
    if found["threads"] == 1:
        notes.append("p50 / p99: one query at a time, the shortest of its rounds")
    if differences:
        notes.append(f"checked first: all lists of scores equal bm25s's to {max(differences):.1g}")
    overlaps = [check["tantivy_overlap"] for check in found["checks"] if "tantivy_overlap" in check]
    if overlaps:
        segments = found["segments"]["compacted"]["tantivy"]
        notes.append(
            f"* not like for like: tantivy rounds lengths (its first ten share {min(overlaps):.0%} to "
            f"{max(overlaps):.0%} with ours; segments: {segments}); rank-bm25 has another idf, and gets "
            f"{_SLOW_QUERIES} queries of each length"
        )
    return [*notes, *(said for peer in ("bm25s", "tantivy", "rank-bm25") if (said := missing(peer))), RETRIV]


def main(
    *,
    data: Data = DATA,
    name: Annotated[
        str, typer.Option(help="synthetic, wordnet-senses, debian-packages or documentation.")
    ] = "synthetic",
    n: Annotated[
        int | None, typer.Option(min=1, help="Texts; by default 963,000 synthetic ones, all real ones.")
    ] = None,
    documents: Annotated[Path | None, typer.Option(help="Folder of documents for 'documentation'.")] = None,
    queries: Annotated[int, typer.Option(min=1, help="Queries of each length.")] = 300,
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds.")] = 5,
    json: Json = None,
) -> None:
    """Search by BM25, beside bm25s, tantivy and rank-bm25."""
    show_all(lambda: measure(text_collection(name, n, data, documents), queries, repeats=repeats), json)


if __name__ == "__main__":
    typer.run(main)
