"""The BM25 search benchmark's processes: `prepare` builds every side's index, `measure` opens and times them all.

All sides are opened in one process and take turns, so that a busy moment of the machine hits them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import typer

from eval.benchmarks.in_turn import in_turn, latencies, percentiles
from eval.benchmarks.peers.bm25s_lexical import Bm25s
from eval.benchmarks.peers.engine_lexical import EngineCollection
from eval.benchmarks.peers.installed import missing
from eval.benchmarks.peers.lexical import LexicalSide, Texts
from eval.benchmarks.peers.rank_bm25_lexical import RankBm25
from eval.benchmarks.peers.tantivy_lexical import Tantivy
from eval.benchmarks.processes import n_cores, peak_memory

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

STATES = ("compacted", "segments")
_INDEXED: Mapping[str, type[LexicalSide]] = {"bm25s": Bm25s, "tantivy": Tantivy}
_DELETED = 0.05


class Plan(msgspec.Struct):
    """What `measure` does.

    Attributes:
        queries: by length.
        ks: numbers of results.
        repeats: measured rounds.
        singles: how many queries of each length are also timed one at a time; 0 for none.
        slow: how many queries of each length rank-bm25 gets, at the smallest k; 0 leaves it out.
        sweep: further numbers of results for the queries of 5 to 10 words, on the compacted collection.
    """

    queries: dict[str, list[str]]
    ks: list[int]
    repeats: int
    singles: int = 0
    slow: int = 0
    sweep: list[int] = []


def write_collection(work: Path, texts: Texts) -> None:
    """Lay down texts for `prepare`."""
    (work / "texts.json").write_bytes(msgspec.json.encode(list(texts)))


def _read(path: Path) -> Texts:
    return Texts(*msgspec.json.decode(path.read_bytes(), type=tuple[list[str], list[str]]))


@app.command()
def prepare(work: Path) -> None:
    """Build all indexes: of all texts, and of those that are left after 5 % were deleted."""
    texts = _read(work / "texts.json")
    EngineCollection.build(work / "ours-compacted", texts)
    gone = np.zeros(len(texts.ids), bool)
    gone[np.random.default_rng(0).choice(len(gone), int(len(gone) * _DELETED), replace=False)] = True
    EngineCollection.build_segments(work / "ours-segments", texts, [texts.ids[row] for row in np.flatnonzero(gone)])
    left = [int(row) for row in np.flatnonzero(~gone)]
    living = Texts([texts.ids[row] for row in left], [texts.texts[row] for row in left])
    (work / "texts-living.json").write_bytes(msgspec.json.encode(list(living)))
    for peer, side in _INDEXED.items():
        if missing(peer) is None:
            for state, indexed in (("compacted", texts), ("segments", living)):
                (work / f"{peer}-{state}").mkdir()
                side.build(work / f"{peer}-{state}", indexed)
    _report(texts=len(texts.ids), living=len(living.ids))


@app.command()
def measure(work: Path, plan: Path) -> None:
    """Check and time all sides on the processors that this process is confined to."""
    wanted = msgspec.json.decode(plan.read_bytes(), type=Plan)
    found: dict[str, Any] = {"threads": n_cores(), "checks": [], "batches": [], "singles": [], "segments": {}}
    for state in STATES:
        texts = _read(work / ("texts.json" if state == "compacted" else "texts-living.json"))
        sides = _open(work, state, texts)
        found["segments"][state] = {name: getattr(side, "n_segments", 1) for name, side in sides.items()}
        ks = sorted({min(k, len(texts.ids)) for k in wanted.ks})
        for words, queries in wanted.queries.items():
            found["checks"].append({"state": state, "words": words, **_check(sides, queries, ks)})
            for k in ks:
                found["batches"].append({"state": state, "words": words, "k": k, **_batch(sides, queries, k, wanted)})
                if wanted.singles:
                    singles = _singles(sides, queries[: wanted.singles], k, wanted.repeats)
                    found["singles"].append({"state": state, "words": words, "k": k, **singles})
        if state == "compacted":
            found["sweep"] = _sweep(sides, wanted, len(texts.ids))
            if wanted.slow and missing("rank-bm25") is None:
                ours = sides["ours"]
                found["slow"] = _slow(ours, RankBm25(work, texts, 1), wanted, ks[0])
    _report(**found, peak=peak_memory())


def _open(work: Path, state: str, texts: Texts) -> dict[str, LexicalSide]:
    sides: dict[str, LexicalSide] = {"ours": EngineCollection(work / f"ours-{state}", texts, n_cores())}
    for peer, side in _INDEXED.items():
        if missing(peer) is None:
            sides[peer] = side(work / f"{peer}-{state}", texts, n_cores())
    return sides


def _check(sides: Mapping[str, LexicalSide], queries: Sequence[str], ks: Sequence[int]) -> dict[str, Any]:
    """Compare score lists with bm25s's, and the first ten ids with tantivy's."""
    found: dict[str, Any] = {"queries": len(queries)}
    ours = sides["ours"]
    if "bm25s" in sides:
        largest = 0.0
        pairs = zip(ours.scores(queries, ks[-1]), sides["bm25s"].scores(queries, ks[-1]), strict=True)
        for mine, theirs in pairs:
            if len(mine) != len(theirs):
                largest = float("inf")
            elif len(mine):
                largest = max(largest, float(np.abs(mine - theirs).max()))
        found["largest_difference"] = largest if np.isfinite(largest) else -1.0  # JSON has no infinity
    if "tantivy" in sides:
        ten = [
            (set(a), set(b))
            for a, b in zip(ours.search(queries, 10), sides["tantivy"].search(queries, 10), strict=True)
        ]
        found["tantivy_overlap"] = float(np.mean([len(a & b) / max(len(a), len(b), 1) for a, b in ten]))
    return found


def _batch(sides: Mapping[str, LexicalSide], queries: Sequence[str], k: int, plan: Plan) -> dict[str, Any]:
    calls: dict[str, Callable[[], object]] = {name: partial(side.search, queries, k) for name, side in sides.items()}
    return {"queries": len(queries), "seconds": in_turn(calls, plan.repeats)}


def _singles(sides: Mapping[str, LexicalSide], queries: Sequence[str], k: int, repeats: int) -> dict[str, Any]:
    calls = {name: [partial(side.search_one, query, k) for query in queries] for name, side in sides.items()}
    return {"milliseconds": {name: percentiles(shortest) for name, shortest in latencies(calls, repeats).items()}}


def _sweep(sides: Mapping[str, LexicalSide], plan: Plan, n: int) -> list[dict[str, Any]]:
    queries = plan.queries.get("5-10", [])
    ks = sorted({min(k, n) for k in plan.sweep}) if queries else []
    return [{"k": k, **_batch(sides, queries, k, plan)} for k in ks]


def _slow(ours: LexicalSide, theirs: LexicalSide, plan: Plan, k: int) -> list[dict[str, Any]]:
    rows = []
    for words, queries in plan.queries.items():
        few = queries[: plan.slow]
        rows.append({"words": words, "k": k, **_batch({"ours": ours, "rank-bm25": theirs}, few, k, plan)})
    return rows


def _report(**measured: Any) -> None:
    typer.echo(msgspec.json.encode(measured).decode())


if __name__ == "__main__":
    app()
