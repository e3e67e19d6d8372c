"""The sparse search benchmark's processes: `prepare` builds every side's index, `measure` opens, checks and times all.

Brute force by scipy is the judge: the scores of exact sides must equal its own, approximate ones get a recall.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import typer

from eval.benchmarks.in_turn import in_turn, latencies, percentiles
from eval.benchmarks.peers.bmp_sparse import BlockMaxPruning
from eval.benchmarks.peers.engine_sparse import DaringEngineIndex, EngineIndex
from eval.benchmarks.peers.faiss_codes import FaissCodes
from eval.benchmarks.peers.qdrant_sparse import QdrantEdge
from eval.benchmarks.peers.scipy_sparse import ScipyProduct
from eval.benchmarks.peers.seismic_sparse import Seismic
from eval.benchmarks.peers.sparse import Found, SparseSide, read_vectors
from eval.benchmarks.peers.torch_sparse import TorchProduct
from eval.benchmarks.processes import n_cores, peak_memory
from eval.benchmarks.sparse_vectors import SparseVectors, postings_touched
from eval.benchmarks.workers import directory_size

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

_SIDES: Mapping[str, type[SparseSide]] = {
    "ours": EngineIndex,
    "ours, daring": DaringEngineIndex,
    "scipy": ScipyProduct,
    "qdrant-edge": QdrantEdge,
    "seismic": Seismic,
    "bmp": BlockMaxPruning,
    "faiss": FaissCodes,
    "torch": TorchProduct,
}
_OPENS = {"ours, daring": "ours"}
"""Sides that open the index of another one, which must take part as well."""

_TOLERANCE = 1e-6  # relative: sums of products of 8-bit integers below 2^24 are exact in float32


class Plan(msgspec.Struct):
    """What `measure` does.

    Attributes:
        sides: which take part; scipy, the judge, always does.
        queries: names of the sets of queries in the folder.
        n_dimensions: of the space.
        ks: numbers of results.
        repeats: measured rounds.
        singles: how many queries are also timed one at a time; 0 for none.
    """

    sides: list[str]
    queries: list[str]
    n_dimensions: int
    ks: list[int]
    repeats: int
    singles: int = 0


def _plan(work: Path) -> Plan:
    return msgspec.json.decode((work / "plan.json").read_bytes(), type=Plan)


@app.command()
def prepare(work: Path) -> None:
    """Build the indexes of the sides that keep files."""
    plan = _plan(work)
    documents = read_vectors(work, "documents")
    built = {}
    for name in plan.sides:
        if name in _OPENS:
            continue
        place = work / name
        place.mkdir()
        began = time.perf_counter()
        _SIDES[name].build(place, documents, plan.n_dimensions)
        built[name] = {"seconds": time.perf_counter() - began, "bytes": directory_size(place)}
    _report(built={name: built[_OPENS.get(name, name)] for name in plan.sides})


@app.command()
def measure(work: Path) -> None:
    """Check and time all sides on the processors that this process is confined to."""
    plan = _plan(work)
    documents = read_vectors(work, "documents")
    judge = ScipyProduct(work, documents, plan.n_dimensions, 1)
    sides: dict[str, SparseSide] = {
        name: judge
        if name == "scipy"
        else _SIDES[name](work / _OPENS.get(name, name), documents, plan.n_dimensions, n_cores())
        for name in plan.sides
    }
    found: dict[str, Any] = {"threads": n_cores(), "batches": [], "touched": {}, "way": {}}
    for name in plan.queries:
        queries = read_vectors(work, f"queries-{name}")
        prepared = {side: sides[side].prepare(queries) for side in sides}
        found["touched"][name] = float(postings_touched(queries, documents, plan.n_dimensions).mean())
        found["way"][name] = judge.way(queries)
        for k in sorted({min(k, len(documents)) for k in plan.ks}):
            calls: dict[tuple[str, str], Callable[[], object]] = {
                (side, point): partial(sides[side].search, prepared[side], k, point)
                for side in sides
                for point in sides[side].points
            }
            quality = _judged(judge, queries, k, {key: _answers(sides, prepared, key, k) for key in calls}, sides)
            seconds = in_turn({_label(key): call for key, call in calls.items()}, plan.repeats)
            single = _singles(sides, queries, k, plan) if plan.singles else {}
            found["batches"] += [
                {
                    "set": name,
                    "k": k,
                    "queries": len(queries),
                    "side": key[0],
                    "point": key[1],
                    "exact": sides[key[0]].exact,
                    "seconds": seconds[_label(key)],
                    "milliseconds": single.get(_label(key)),
                    **quality[key],
                }
                for key in calls
            ]
    _report(**found, peak=peak_memory())


def _answers(sides: Mapping[str, SparseSide], prepared: Mapping[str, Any], key: tuple[str, str], k: int) -> list[Found]:
    side, point = key
    return sides[side].found(sides[side].search(prepared[side], k, point), prepared[side])


def _judged(
    judge: ScipyProduct,
    queries: SparseVectors,
    k: int,
    answers: Mapping[tuple[str, str], list[Found]],
    sides: Mapping[str, SparseSide],
) -> dict[tuple[str, str], dict[str, float]]:
    """Return by side and point the recall and, for exact sides, the largest relative difference of scores.

    A document counts as found if its score is at least the k-th best: it does not matter which of several equal ones.
    """
    recalls: dict[tuple[str, str], list[float]] = {key: [] for key in answers}
    differences: dict[tuple[str, str], float] = dict.fromkeys(answers, 0.0)
    for number in range(len(queries)):
        scores = judge.all_scores(queries, number).astype(np.float64)
        best = np.sort(np.partition(scores, len(scores) - k)[len(scores) - k :])[::-1]
        best = best[best > 0]
        for key, lists in answers.items():
            rows = np.unique(lists[number].rows)
            hits = int((scores[rows] >= best[-1]).sum()) if len(best) else 0
            recalls[key].append(min(hits, len(best)) / len(best) if len(best) else 1.0)
            if sides[key[0]].exact:
                differences[key] = max(differences[key], _difference(lists[number].scores, best))
    return {
        key: {
            "recall": float(np.mean(recalls[key])),
            **({"largest_difference": differences[key]} if sides[key[0]].exact else {}),
        }
        for key in answers
    }


def _difference(scores: np.ndarray, best: np.ndarray) -> float:
    """Return the largest relative difference between two descending lists; 1 where their lengths differ."""
    if len(scores) != len(best):
        return 1.0
    return float((np.abs(scores - best) / best).max()) if len(best) else 0.0


def _singles(sides: Mapping[str, SparseSide], queries: SparseVectors, k: int, plan: Plan) -> dict[str, Any]:
    alone = [queries.some(number, number + 1) for number in range(min(plan.singles, len(queries)))]
    calls = {}
    for name, side in sides.items():
        prepared = [side.prepare(one) for one in alone]
        for point in side.points:
            calls[_label((name, point))] = [partial(side.search, one, k, point) for one in prepared]
    return {label: percentiles(shortest) for label, shortest in latencies(calls, plan.repeats).items()}


def _label(key: tuple[str, str]) -> str:
    return " ".join(part for part in key if part)


def _report(**measured: Any) -> None:
    typer.echo(msgspec.json.encode(measured).decode())


if __name__ == "__main__":
    app()
