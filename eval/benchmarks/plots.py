"""The benchmarks' plots, drawn from their stored results: `python -m eval.benchmarks.plots`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.benchmarks.drawing import Plot, draw, titled
from eval.benchmarks.encoder_length import NAMES
from eval.benchmarks.processes import Spread
from eval.benchmarks.query_spans import LENGTHS
from eval.outcome import Outcome, read_outcomes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HERE = Path(__file__).parent
_COLOURS = {  # Okabe and Ito's, which colour-blind people can tell apart
    "ours": "#d55e00",
    "ours, daring": "#d55e00",
    "bm25s": "#0072b2",
    "tantivy": "#009e73",
    "scipy": "#0072b2",
    "qdrant-edge": "#009e73",
    "seismic": "#cc79a7",
    "bmp": "#e69f00",
}
_MARKERS = {
    "ours": "o",
    "ours, daring": "P",
    "bm25s": "s",
    "tantivy": "^",
    "scipy": "s",
    "qdrant-edge": "^",
    "seismic": "D",
    "bmp": "v",
}


def _latency_by_k(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    found = titled(outcomes, "BM25 search, synthetic, one core")
    if found is None or not found.numbers.get("sweep"):
        return False
    sweep = found.numbers["sweep"]
    for side in sweep[0]["seconds"]:
        points = [(row["k"], _milliseconds(row["seconds"][side], row["queries"])) for row in sweep]
        _line(axes, side, side, points)
    axes.set(xscale="log", yscale="log", xlabel="k", ylabel="ms a query, one core")
    return True


def _latency_by_length(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    found = titled(outcomes, "BM25 search, synthetic, one core")
    if found is None:
        return False
    lengths = list(LENGTHS)
    batches = [b for b in found.numbers["batches"] if b["state"] == "compacted" and b["words"] in LENGTHS]
    for k, style in zip(sorted({batch["k"] for batch in batches}), ("-", "--", ":"), strict=False):
        for side in batches[0]["seconds"]:
            points = [
                (lengths.index(batch["words"]), _milliseconds(batch["seconds"][side], batch["queries"]))
                for batch in batches
                if batch["k"] == k
            ]
            _line(axes, side, f"{side}, k = {k:,}", points, style)
    axes.set_xticks(range(len(lengths)), lengths)
    axes.set(yscale="log", xlabel="words of the query", ylabel="ms a query, one core")
    return True


def _latency_by_size(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    found = titled(outcomes, "Growth, BM25")
    if found is None:
        return False
    for words, marker in zip(LENGTHS, "so^", strict=True):
        for k, style, colour in ((10, "-", "#d55e00"), (1000, "--", "#0072b2")):
            points = [
                (size["n"], _milliseconds(row["seconds"], size["search"]["queries"]))
                for size in found.numbers["sizes"]
                for row in size["search"]["rows"]
                if (row["words"], row["k"]) == (words, k)
            ]
            axes.plot(*zip(*points, strict=True), style, color=colour, marker=marker, label=f"{words} words, k = {k:,}")
    axes.set(xscale="log", yscale="log", xlabel="texts", ylabel="ms a query, one core")
    return True


def _recall_by_time(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    learned = [o for o in outcomes if o.title.startswith("Learned sparse search") and o.title.endswith("one core")]
    if not learned:
        return False
    found = max(learned, key=lambda outcome: int(outcome.numbers["documents"]))
    batches = [batch for batch in found.numbers["batches"] if batch["set"] == "synthetic"]
    k = min(batch["k"] for batch in batches)
    for side in dict.fromkeys(batch["side"] for batch in batches):
        points = [
            (_milliseconds(batch["seconds"], batch["queries"]), batch["recall"])
            for batch in batches
            if batch["side"] == side and batch["k"] == k
        ]
        _line(axes, side, side, sorted(points), "--" if side == "ours, daring" else "-")
    documents = f"{found.numbers['documents']:,} documents"
    axes.set(xscale="log", xlabel=f"ms a query, one core, {documents}", ylabel=f"recall at {k}")
    return True


def _throughput_by_length(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    found = titled(outcomes, "Encoding, by length")
    if found is None or not found.numbers["lengths"]:
        return False
    lengths = found.numbers["lengths"]
    for number, side in enumerate(lengths[0]["seconds"]):
        points = [(each["length"], each["texts"] * each["length"] / min(each["seconds"][side])) for each in lengths]
        axes.plot(*zip(*points, strict=True), color=f"C{number}", marker="os^DvPX*"[number % 8], label=side)
    axes.set_xscale("log", base=2)
    axes.set(yscale="log", xlabel="tokens of a text", ylabel="tokens a second")
    return True


def _seconds_by_length(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    return _by_text_length(axes, outcomes, "seconds", 1, "seconds for a text")


def _memory_by_length(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    return _by_text_length(axes, outcomes, "memory", 1 << 20, "MiB beyond the loaded model")


def _by_text_length(axes: Axes, outcomes: Sequence[Outcome], what: str, unit: int, label: str) -> bool:
    found = titled(outcomes, "Encoder length")
    if found is None:
        return False
    drawn = False
    for number, (encoder, by_length) in enumerate(found.numbers["measured"].items()):
        points = sorted(
            (int(length), Spread.of([each[what] for each in rounds]).median / unit)
            for length, rounds in by_length.items()
        )
        seen = [point for point in points if point[1] > 0]
        if seen:
            axes.plot(*zip(*seen, strict=True), color=f"C{number}", marker="os^D"[number % 4], label=NAMES[encoder])
            drawn = True
    axes.set_xscale("log", base=2)
    axes.set(yscale="log", xlabel="tokens of a text", ylabel=label)
    return drawn


PLOTS = (
    Plot("bm25-k.svg", "BM25 on synthetic texts, queries of 5 to 10 words: time against k.", _latency_by_k),
    Plot("bm25-query-length.svg", "BM25 on synthetic texts: time against the length of the query.", _latency_by_length),
    Plot("bm25-collection-size.svg", "BM25 of this engine: time against the number of texts.", _latency_by_size),
    Plot("sparse-recall.svg", "Learned sparse vectors: recall against time; exact sides at 1.", _recall_by_time),
    Plot("encoding-length.svg", "Encoding: throughput against the length of the texts.", _throughput_by_length),
    Plot("encoder-length-time.svg", "Long-context encoders: time against length.", _seconds_by_length),
    Plot("encoder-length-memory.svg", "Long-context encoders: memory against length.", _memory_by_length),
)


def _milliseconds(seconds: Sequence[float], queries: int) -> float:
    return Spread.of(seconds).median / queries * 1000


def _line(axes: Axes, side: str, label: str, points: Sequence[tuple[float, float]], style: str = "-") -> None:
    across, up = zip(*points, strict=True)
    axes.plot(across, up, style, color=_COLOURS[side], marker=_MARKERS[side], label=label)


def main(
    results: Annotated[Path, typer.Option(help="Stored results.")] = _HERE / "results.json",
    output: Annotated[Path, typer.Option(help="Folder of the plots.")] = _HERE / "plots",
) -> None:
    """Draw the plots of stored results again."""
    draw(PLOTS, read_outcomes(results), output)


if __name__ == "__main__":
    typer.run(main)
