"""Quality over model calls, drawn with matplotlib (extra `peers`)."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from eval.errors import TuningError
from eval.tuning.report import Setting, TuningReport
from retrieval.errors import MissingExtraError

_OTHERS, _WORTH, _BEST = "#999999", "#0072b2", "#d55e00"  # of Okabe and Ito's colours, for colour-blind people
_SETTINGS = {"svg.hashsalt": "tuning", "svg.fonttype": "none", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}


def check_plot(path: Path) -> None:
    """Refuse a file that cannot be drawn, before anything is measured for it.

    Raises:
        MissingExtraError: matplotlib is not installed.
        TuningError: the file is of another kind than .svg, or its folder is not there.
    """
    if path.suffix != ".svg" or not path.parent.is_dir():
        raise TuningError(f"a plot is an .svg file in an existing folder, not {path}")
    if find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "peers", "plotting")


def draw(report: TuningReport, path: str | Path) -> None:
    """Draw every setting, the Pareto set as a line, and the best one; the same report makes the same file.

    Args:
        report: what is drawn.
        path: ending in .svg.

    Raises:
        MissingExtraError, TuningError: as `check_plot`.
    """
    path = Path(path)
    check_plot(path)
    from matplotlib import rc_context
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with rc_context(_SETTINGS):
        figure = Figure(figsize=(6.4, 4), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        name = report.measure
        shown: list[tuple[Sequence[Setting], dict[str, Any]]] = [
            (report.settings, {"label": "all settings", "color": _OTHERS, "marker": "o", "ms": 3, "ls": "none"}),
            (report.pareto, {"label": "worth their calls", "color": _WORTH, "marker": "o", "ms": 4}),
            ([report.best], {"label": report.best.stages, "color": _BEST, "marker": "*", "ms": 12, "ls": "none"}),
        ]
        for settings, style in shown:
            calls, values = ([one.calls for one in settings], [one.measures[name] for one in settings])
            axes.plot(calls, values, **style)
        axes.legend(loc="lower right", fontsize=7)
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(left=0)
        axes.set_xlabel("model calls a query")
        axes.set_ylabel(name)
        axes.set_title(f"{report.testset} ({report.split}), {len(report.settings):,} settings")
        figure.savefig(path, format="svg", metadata={"Date": None})
