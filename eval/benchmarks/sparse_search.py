"""Sparse search: learned impacts and binary codes, beside scipy and others: `python -m eval.benchmarks.sparse_search`.

Learned vectors against scipy, Qdrant Edge (exact), Seismic and BMP (approximate: their recall is measured at several
settings); binary codes against scipy, FAISS and torch. Every exact side's scores are compared with brute force before
they are timed. Bringing queries into a library's form and reading its answers are in nobody's clock.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from eval.benchmarks.in_turn import times_slower
from eval.benchmarks.peers.faiss_codes import code_bytes
from eval.benchmarks.peers.installed import missing, peer_versions
from eval.benchmarks.peers.sparse import write_vectors
from eval.benchmarks.processes import Spread, n_cores, run_worker
from eval.benchmarks.sparse_search_worker import _TOLERANCE, Plan
from eval.benchmarks.sparse_vectors import (
    DOCUMENTS,
    QUERIES,
    VOCABULARY,
    SparseVectors,
    binary_vectors,
    learned_vectors,
)
from eval.benchmarks.splade_queries import splade_queries
from eval.command_line import DATA, Data, Json, show_all
from eval.errors import EvaluationError, ReproductionError
from eval.outcome import Outcome
from eval.provenance import package_versions

_WORKER = "eval.benchmarks.sparse_search_worker"
_COLUMNS = [
    "side",
    "queries",
    "k",
    "queries/s",
    "time / ours",
    "recall",
    "p50 / p99, ms",
    "bytes / document",
    "/ posting",
]
_APPROXIMATE = "* approximate, not like for like; recall counts documents that score at least as much as the k-th best"
_DARING = (
    "'ours, daring': the same index, searched approximately: what could only come into the answer by lists that are "
    "not read yet must be able to exceed the k-th best score so many times; scores stay exact"
)
_SINGLE = "p50 / p99: one query at a time, the shortest of its rounds"
_LARGEST_CODES = 2 << 30  # bytes of FAISS's packed codes


@dataclass(frozen=True)
class SparseCollection:
    """Vectors to search.

    Attributes:
        title: what they are.
        documents: the collection.
        queries: sets of queries by name.
        n_dimensions: of the space.
        peers: who takes part beside this engine and scipy.
        notes: what a reader should know, and who was left out.
    """

    title: str
    documents: SparseVectors
    queries: Mapping[str, SparseVectors]
    n_dimensions: int
    peers: Sequence[str]
    notes: Sequence[str]


def learned_collection(n: int, n_queries: int, data: Path, *, topics: bool = True) -> SparseCollection:
    """Make learned sparse vectors, and read the real queries where they are."""
    shapes = [shape if topics else replace(shape, topical=0.0) for shape in (DOCUMENTS, QUERIES)]
    queries = {"synthetic": learned_vectors(n_queries, shapes[1], stream=1)}
    notes = [f"vectors of SPLADE's published shape, {'with' if topics else 'without'} topics (see sparse_vectors.py)"]
    try:
        queries["SPLADE"] = splade_queries(data)
        notes.append("'SPLADE': the real query vectors of TREC DL 2019 by the same vocabulary, on synthetic documents")
    except EvaluationError as error:
        notes.append(f"no real queries: {error}")
    title = f"Learned sparse search, {n:,} documents{'' if topics else ' without topics'}"
    return SparseCollection(
        title, learned_vectors(n, shapes[0]), queries, VOCABULARY, ("qdrant-edge", "seismic", "bmp"), notes
    )


def binary_collection(
    n: int, active: int, n_queries: int, *, clusters: int | None = None, n_dimensions: int = 81_920, query: int = 80
) -> SparseCollection:
    """Make binary codes: `active` of the dimensions in each document, `query` of them in a query."""
    options = {"n_dimensions": n_dimensions, "clusters": clusters}
    documents = binary_vectors(n, active, **options)  # type: ignore[arg-type]
    queries = {"codes": binary_vectors(n_queries, query, **options, stream=1)}  # type: ignore[arg-type]
    how = "random" if clusters is None else f"in clusters ({clusters:,})"
    notes = [f"{active:,} of {n_dimensions:,} dimensions active in a document, {query} in a query, {how}"]
    size = code_bytes(n, n_dimensions)
    if size > _LARGEST_CODES:
        notes.append(f"faiss is left out: its packed codes would take {size / 2**30:.1f} GiB")
    peers = ("torch",) if size > _LARGEST_CODES else ("faiss", "torch")
    title = f"Binary search, {n:,} codes of {active:,} dimensions, {how}"
    return SparseCollection(title, documents, queries, n_dimensions, peers, notes)


def measure(collection: SparseCollection, ks: Sequence[int] = (10, 1000), repeats: int = 5) -> list[Outcome]:
    """Measure one collection on one core and, where there are more, on all.

    Args:
        collection: vectors and queries.
        ks: numbers of results.
        repeats: measured rounds.

    Raises:
        ReproductionError: an exact side's scores differ from brute force, a process failed, or scipy is missing.
    """
    if (said := missing("scipy")) is not None:
        raise ReproductionError(f"nothing to compare with: {said}")
    absent = [said for peer in collection.peers if (said := missing(peer))]
    sides = ["ours", "ours, daring", "scipy", *(peer for peer in collection.peers if missing(peer) is None)]
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        write_vectors(work, "documents", collection.documents)
        for name, queries in collection.queries.items():
            write_vectors(work, f"queries-{name}", queries)
        outcomes = []
        prepared: dict[str, Any] = {}
        for cores in (1, None) if n_cores() > 1 else (1,):
            plan = Plan(sides, list(collection.queries), collection.n_dimensions, list(ks), repeats)
            plan.singles = max(map(len, collection.queries.values())) if cores == 1 else 0
            (work / "plan.json").write_bytes(msgspec.json.encode(plan))
            if not prepared:
                prepared = run_worker(["prepare", str(work)], _WORKER)["built"]
            found = run_worker(["measure", str(work)], _WORKER, cores)
            outcomes.append(_outcome(collection, found, prepared, absent))
    return outcomes


def _outcome(
    collection: SparseCollection, found: Mapping[str, Any], built: Mapping[str, Any], absent: Sequence[str]
) -> Outcome:
    batches = found["batches"]
    for batch in batches:
        if batch["exact"] and batch["largest_difference"] > _TOLERANCE:
            raise ReproductionError(
                f"{batch['side']}'s scores for {batch['set']!r} queries, k = {batch['k']}, differ from brute force by "
                f"{batch['largest_difference']:.2%}: the timings are discarded"
            )
    n, postings = len(collection.documents), len(collection.documents.dimensions)
    ours = {(batch["set"], batch["k"]): batch["seconds"] for batch in batches if batch["side"] == "ours"}
    rows = [_row(batch, ours.get((batch["set"], batch["k"])), built, n, postings) for batch in batches]
    touched = ", ".join(f"{value:,.0f} ({name})" for name, value in found["touched"].items())
    notes = [
        *collection.notes,
        f"{n:,} documents with {postings / n:,.1f} entries each; all lists of a query's dimensions together hold, on "
        f"average, {touched} postings",
        f"{' and '.join(str(len(queries)) for queries in collection.queries.values())} queries, "
        f"{len(batches[0]['seconds'])} rounds in one process, the sides taking turns; time / ours round by round, "
        "median (lowest to highest)",
        "bytes: all files of the index, space that is set aside included",
        *([_APPROXIMATE] if any(not batch["exact"] for batch in batches) else []),
        *([_DARING] if any(batch["side"] == "ours, daring" for batch in batches) else []),
        "checked first: the scores of all exact sides equal brute force",
        f"scipy multiplied {', '.join(f'{way} ({name})' for name, way in found['way'].items())}",
        *([_SINGLE] if found["threads"] == 1 else []),
        *absent,
    ]
    threads = "one core" if found["threads"] == 1 else f"{found['threads']} cores"
    numbers = {**found, "documents": n, "postings": postings, "built": built, "n_dimensions": collection.n_dimensions}
    versions = {**package_versions(), **peer_versions()}
    return Outcome(f"{collection.title}, {threads}", _COLUMNS, rows, notes, numbers, versions=versions)


def _row(
    batch: Mapping[str, Any], ours: Sequence[float] | None, built: Mapping[str, Any], n: int, postings: int
) -> list[str]:
    size = built[batch["side"]]["bytes"]
    label = ", ".join(part for part in (batch["side"], batch["point"]) if part)
    single = batch["milliseconds"]
    return [
        label if batch["exact"] else f"{label} *",
        batch["set"],
        f"{batch['k']:,}",
        f"{batch['queries'] / Spread.of(batch['seconds']).median:,.0f}",
        times_slower(batch["seconds"], ours).text(2) if ours and batch["side"] != "ours" else "–",
        f"{batch['recall']:.3f}",
        f"{single['p50']:.2f} / {single['p99']:.2f}" if single else "–",
        f"{size / n:,.1f}" if size else "in memory",
        f"{size / postings:.2f}" if size else "–",
    ]


def main(
    *,
    data: Data = DATA,
    kind: Annotated[str, typer.Option(help="'learned' or 'binary'.")] = "learned",
    n: Annotated[int, typer.Option(min=1, help="Documents.")] = 200_000,
    active: Annotated[int, typer.Option(min=1, help="Active dimensions of a binary document.")] = 80,
    clusters: Annotated[int | None, typer.Option(min=1, help="Clusters of binary codes; by default random.")] = None,
    topics: Annotated[bool, typer.Option(help="Topics of learned vectors.")] = True,
    queries: Annotated[int, typer.Option(min=1, help="Synthetic queries.")] = 100,
    repeats: Annotated[int, typer.Option(min=1, help="Measured rounds.")] = 5,
    json: Json = None,
) -> None:
    """Search sparse vectors, beside scipy, Qdrant Edge, Seismic, BMP, FAISS and torch."""

    def outcomes() -> list[Outcome]:
        if kind not in ("learned", "binary"):
            raise EvaluationError(f"unknown kind {kind!r}: 'learned' or 'binary'")
        if kind == "binary":
            return measure(binary_collection(n, active, queries, clusters=clusters), repeats=repeats)
        return measure(learned_collection(n, queries, data, topics=topics), repeats=repeats)

    show_all(outcomes, json)


if __name__ == "__main__":
    typer.run(main)
