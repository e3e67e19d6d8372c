"""The studies' plots, drawn from their stored results."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from eval.benchmarks.drawing import Plot, titled
from eval.experiments.studies.length_extrapolation import NAMES
from eval.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKERS = "os^DvPX*"


def _needles(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    return _by_length(axes, titled(outcomes, "Needles in a common text"))


def _meetings(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    return _by_length(axes, titled(outcomes, "Meetings cut at lengths (QMSum)"))


def _by_length(axes: Axes, found: Outcome | None) -> bool:
    if found is None:
        return False
    for number, (name, measured) in enumerate(found.numbers["encoders"].items()):
        for kind, line, label in (("whole", "-", NAMES[name]), ("windows", ":", None)):
            points = sorted((int(length), float(np.mean(values))) for length, values in measured[kind].items())
            axes.plot(
                *zip(*points, strict=True), linestyle=line, color=f"C{number}", marker=_MARKERS[number], label=label
            )
    axes.set_xscale("log", base=2)
    axes.set(xlabel="tokens of a document", ylabel="nDCG@10")
    return True


def _matryoshka(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    found = titled(outcomes, "nDCG@10 on wordnet-senses dev by dimension")
    if found is None:
        return False
    by_dimension = found.numbers["by dimension"]
    for number, (name, key) in enumerate(
        (("untrained", "untrained"), ("without the loss", "plain"), ("with the loss", "matryoshka"))
    ):
        points = sorted((int(dimension), float(values[key])) for dimension, values in by_dimension.items())
        axes.plot(*zip(*points, strict=True), color=f"C{number}", marker=_MARKERS[number], label=name)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="dimensions kept", ylabel="nDCG@10")
    return True


def _architectures(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    found = titled(outcomes, "Quality, time and storage by architecture")
    if found is None:
        return False
    for number, (name, measured) in enumerate(found.numbers["architectures"].items()):
        quality, colour, marker = measured["nDCG@10"], f"C{number}", _MARKERS[number]
        axes.plot(measured["ms"], quality, linestyle="", color=colour, marker=marker, label=name)
        if measured["stored ms"] is not None:
            times = [measured["stored ms"], measured["ms"]]
            axes.plot(times, [quality] * 2, linestyle=":", color=colour, marker=marker, fillstyle="none")
    axes.set(xscale="log", xlabel="ms a query; hollow: over stored states", ylabel="nDCG@10")
    return True


def _cheaper(axes: Axes, outcomes: Sequence[Outcome]) -> bool:
    exits = titled(outcomes, "Early exits (DeeBERT)")
    routing = titled(outcomes, "Routing (E-LANG): two layers where they are sure, six for the rest")
    if exits is None or routing is None:
        return False
    _curve(axes, 0, "early exits", exits.numbers["thresholds"].values())
    for number, by in enumerate(("energy", "entropy", "query"), 1):
        name = "flat lists" if by == "query" else by
        _curve(axes, number, f"routed by {name}", [shares[by] for shares in routing.numbers["shares"].values()])
    axes.set(xlabel="ms a query", ylabel="nDCG@10")
    return True


def _curve(axes: Axes, number: int, label: str, found: Iterable[Mapping[str, float]]) -> None:
    points = sorted((each["ms"], each["nDCG@10"]) for each in found)
    axes.plot(*zip(*points, strict=True), color=f"C{number}", marker=_MARKERS[number], label=label)


PLOTS: Mapping[str, Sequence[Plot]] = {
    "cheaper_reranking": (
        Plot("cheaper-reranking.svg", "Quality against time, from each knob's neutral setting to its end.", _cheaper),
    ),
    "length_extrapolation": (
        Plot("length-needles.svg", "Needles: whole documents, and dotted the mean of windows.", _needles),
        Plot("length-meetings.svg", "Meetings: whole documents, and dotted the mean of windows.", _meetings),
    ),
    "matryoshka": (Plot("matryoshka.svg", "Quality against dimension.", _matryoshka),),
    "students": (
        Plot("students.svg", "Quality against latency by architecture; hollow: over stored states.", _architectures),
    ),
}
"""By study."""
