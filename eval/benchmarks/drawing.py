"""Plots of measured outcomes: SVG files, the same to the byte for the same numbers and version of matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from eval.outcome import Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SETTINGS = {"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}


class Plot(NamedTuple):
    """A plot of one or more outcomes.

    Attributes:
        file: its name.
        caption: what it shows.
        draw: draws it; tells whether the outcomes have what it needs.
    """

    file: str
    caption: str
    draw: Callable[[Axes, Sequence[Outcome]], bool]


def draw(plots: Sequence[Plot], outcomes: Sequence[Outcome], folder: Path) -> list[Plot]:
    """Draw every plot that the outcomes have numbers for; return which, in order.

    Args:
        plots: what to draw.
        outcomes: any.
        folder: where the files go; made if it is missing. Plots without numbers are removed from it.
    """
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    drawn = []
    for plot in plots:
        with rc_context(_SETTINGS):
            figure = Figure(figsize=(6.5, 3.4), layout="constrained")
            axes = figure.add_subplot()
            if not plot.draw(axes, outcomes):
                (folder / plot.file).unlink(missing_ok=True)
                continue
            figure.legend(loc="outside right upper", fontsize=8)
            folder.mkdir(parents=True, exist_ok=True)
            FigureCanvasSVG(figure).print_svg(folder / plot.file, metadata={"Date": None, "Creator": None})
        drawn.append(plot)
    return drawn


def captions(plots: Sequence[Plot], folder: str = "plots") -> Mapping[str, str]:
    """Return a line of Markdown for each plot by file name."""
    return {plot.file: f"![{plot.caption}]({folder}/{plot.file})" for plot in plots}


def titled(outcomes: Sequence[Outcome], title: str) -> Outcome | None:
    """Return the first outcome with a title, None where there is none."""
    return next((outcome for outcome in outcomes if outcome.title == title), None)
