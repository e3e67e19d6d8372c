"""What the charts of the web page draw: as much as a page can hold, whatever the number of items."""

from __future__ import annotations

from typing import Any

import numpy as np

from eval.comparison import PairedComparison, item_differences
from eval.reports.content import Content
from eval.reports.length_effects import length_effects

MOST_ITEMS = 20
"""Wins and losses of a pair that are shown with their texts."""

_CURVE_POINTS = 240
_BARS = 40
_TEXT_LENGTH = 400
MOST_PAIRS = 400
"""Comparisons whose items are in the page: at some 4 kB each."""


def chart_data(content: Content) -> dict[str, Any]:
    """Return the data of the page's charts as JSON values; systems and tasks are given by their places."""
    tasks = {name: place for place, name in enumerate(content.tasks)}
    systems = {name: place for place, name in enumerate(content.systems)}
    texts: list[dict[str, str]] = [{} for _ in tasks]
    pairs: list[dict[str, Any]] = []
    for one in content.comparisons.pairs:
        place = tasks[one.task]
        pair = {
            "task": place,
            "first": systems[one.first],
            "second": systems[one.second],
            "difference": one.difference,
            "low": one.low,
            "high": one.high,
            "p": one.p,
            "adjusted": one.p_adjusted,
            "n": one.n,
            "record": None if one.wins is None else [one.wins, one.ties, one.losses],
            "note": one.note,
        }
        if one.wins is not None and sum("curve" in each for each in pairs) < MOST_PAIRS:
            pair |= _items(content, one, texts[place])
        pairs.append(pair)
    return {
        "systems": [{"name": name, "letter": content.letters[name]} for name in content.systems],
        "tasks": [
            {"name": task, "kind": content.kind(task), "score": content.score_name(task)} for task in content.tasks
        ],
        "scores": [
            [of_task[name].score if name in of_task else None for name in content.systems]
            for of_task in content.tasks.values()
        ],
        "costs": {
            cost: [
                [of_task[name].costs.get(cost) if name in of_task else None for name in content.systems]
                for of_task in content.tasks.values()
            ]
            for cost in content.costs
        },
        "alpha": content.comparisons.alpha,
        "pairs": pairs,
        "texts": texts,
        "lengths": [length_effects(list(of_task.values()), content.systems) for of_task in content.tasks.values()],
    }


def _items(content: Content, pair: PairedComparison, texts: dict[str, str]) -> dict[str, Any]:
    """Return the curve of all differences, thinned out, their histogram, and the largest wins and losses."""
    of_task = content.tasks[pair.task]
    items = sorted(item_differences(of_task[pair.first], of_task[pair.second]), key=lambda item: item.difference)
    gaps = np.array([item.difference for item in items])
    places = np.unique(np.linspace(0, len(items) - 1, min(len(items), _CURVE_POINTS)).round().astype(int))
    reach = float(np.abs(gaps).max()) or 1.0
    counts, _ = np.histogram(gaps[gaps != 0], bins=_BARS, range=(-reach, reach))
    losses = [item for item in items[:MOST_ITEMS] if item.difference < 0]
    wins = [item for item in items[: -MOST_ITEMS - 1 : -1] if item.difference > 0]
    for item in (*wins, *losses):
        if item.text:
            texts[item.item] = item.text if len(item.text) <= _TEXT_LENGTH else f"{item.text[:_TEXT_LENGTH]} …"
    return {
        "curve": [[int(place), _short(gaps[place])] for place in places],
        "histogram": {"reach": _short(reach), "counts": counts.tolist()},
        "wins": [[item.item, _short(item.first), _short(item.second)] for item in wins],
        "losses": [[item.item, _short(item.first), _short(item.second)] for item in losses],
    }


def _short(value: float) -> float:
    """Return a value with as many places as a chart can show."""
    return round(float(value), 4)
