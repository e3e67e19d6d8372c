"""Names of measures: from strings such as nDCG@10 to the measure objects of `ir_measures`, with helpful refusals."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from eval.errors import MeasureError

if TYPE_CHECKING:
    from ir_measures import Measure

DEFAULT_MEASURES = ("nDCG@10", "R@100", "RR@10", "AP@100")
UNBOUNDED_DEPTH = 1000
"""Documents a query to retrieve for measures without a cutoff, as is usual at TREC."""

_MTEB_NAMES = {"ndcg": "nDCG", "map": "AP", "recall": "R", "mrr": "RR", "precision": "P", "hit_rate": "Success"}
"""How mteb's names begin: ndcg_at_10 is nDCG@10."""


def parse_measures(names: Iterable[str]) -> list[Measure]:
    """Return the measures with these names, each once, in order.

    Names are those of `ir_measures`: nDCG@10, R@100, RR(rel=2)@10, AP, P@5, Success@1, Judged@10,
    nDCG(dcg='exp-log2')@10 and so on. Those of mteb are understood as well: ndcg_at_10, map_at_1000, mrr_at_10.

    Raises:
        MeasureError: a name is unknown (near ones are suggested), a parameter is wrong or missing, or no installed
            software computes the measure.
    """
    measures = list(dict.fromkeys(_parse(name) for name in names))
    if not measures:
        raise MeasureError(f"no measure given; the usual ones are {', '.join(DEFAULT_MEASURES)}")
    return measures


def depth_needed(measures: Iterable[Measure]) -> int:
    """Return how many documents a query the measures look at: the deepest cutoff, 1,000 for a measure without one."""
    return max(measure.params.get("cutoff", UNBOUNDED_DEPTH) for measure in measures)


def mteb_name(measure: Measure) -> str | None:
    """Return what mteb calls a measure: "ndcg_at_10"; None for one that it does not have."""
    for theirs, ours in _MTEB_NAMES.items():
        if measure.params.keys() == {"cutoff"} and ours == measure.NAME:
            return f"{theirs}_at_{measure.params['cutoff']}"
    return None


def _parse(name: str) -> Measure:
    import ir_measures

    theirs = re.fullmatch(rf"({'|'.join(_MTEB_NAMES)})_at_(\d+)", name)
    try:
        measure = ir_measures.parse_measure(f"{_MTEB_NAMES[theirs[1]]}@{theirs[2]}" if theirs else name)
        measure.validate_params()
    except NameError:
        raise MeasureError(f"unknown measure {name!r}{_suggestion(name)}") from None
    except (AssertionError, KeyError, ValueError):
        raise MeasureError(
            f"cannot read measure {name!r}: write Name@cutoff or Name(parameter=value)@cutoff, such as nDCG@10 or "
            "RR(rel=2)@10; P, R, Success and the like need a cutoff"
        ) from None
    # The libraries below end the process for a cutoff of 0, and take True for 1.
    for parameter, lowest in (("cutoff", 1), ("rel", 1)):
        value = measure.params.get(parameter, lowest)
        if isinstance(value, bool) or value < lowest:
            raise MeasureError(f"measure {name!r}: {parameter} must be a whole number of at least {lowest}")
    if not ir_measures.DefaultPipeline.supports(measure):
        raise MeasureError(f"measure {name!r} exists but nothing installed computes it{_install_hint(measure)}")
    return measure


def _suggestion(name: str) -> str:
    import ir_measures

    known = list(ir_measures.measures.registry)
    stem, _, cutoff = name.strip().partition("@")
    stem = stem.partition("(")[0].strip()
    by_lower_case = {other.lower(): other for other in reversed(known)}
    near = difflib.get_close_matches(stem.lower(), by_lower_case, n=3, cutoff=0.5)
    names = [by_lower_case[other] + (f"@{cutoff}" if cutoff else "") for other in near]
    return f"; did you mean {' or '.join(names)}?" if names else f"; the usual ones are {', '.join(DEFAULT_MEASURES)}"


def _install_hint(measure: Measure) -> str:
    import ir_measures

    hints = [
        provider.install_instructions()
        for provider in ir_measures.DefaultPipeline.providers
        if provider.supports(measure) and not provider.is_available()
    ]
    return "".join(f"; try: {hint}" for hint in hints if hint)
