"""Figures as people read them, alike in all formats."""

from __future__ import annotations

import re
from typing import Any

# Control characters, separators of lines, marks that reorder text, halves of surrogate pairs.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_RAISED = str.maketrans("abcdefghijklmnoprstuvwxyz,", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ˒")


def shown(text: str) -> str:
    """Return text in one line, with what a terminal or a page could obey as spaces."""
    return _UNSAFE.sub(" ", text)


def score(value: float) -> str:
    """Return a score with four places."""
    return f"{value:.4f}"


def signed(value: float) -> str:
    """Return a difference with its sign; one that rounds to nothing has none."""
    text = f"{value:+.4f}"
    return text[1:] if float(text) == 0 else text


def probability(value: float | None) -> str:
    """Return a probability: three places, or "< 0.001"; empty for None."""
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(low: float | None, high: float | None) -> str:
    """Return "[low, high]"; empty for None."""
    return "" if low is None or high is None else f"[{signed(low)}, {signed(high)}]"


def raised(marks: str) -> str:
    """Return letters as superscripts, as far as Unicode has them."""
    return marks.translate(_RAISED)


def cost_label(name: str) -> str:
    """Return a cost's name in words: "query_p50_ms" is "query p50 ms"; bytes say their unit themselves, see `cost`."""
    return name.removesuffix("_bytes").replace("_per_", "/").replace("_", " ")


def is_speed(name: str) -> bool:
    """Tell whether more of a cost is better."""
    return name.endswith("_per_second")


def cost(name: str, value: float) -> str:
    """Return a cost as people read it: bytes of memory in GB, large figures in whole numbers."""
    if name.endswith("_bytes"):
        return f"{value / 1e9:.2f} GB" if value >= 1e8 else f"{value / 1e6:.2f} MB"
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def plain(value: Any) -> str:
    """Return a setting as text."""
    if isinstance(value, float):
        return f"{value:g}"
    return shown(str(value))
