"""Policies: what the definitions of measures leave open, decided in one place and said beside every result.

Evaluators decide differently, and mostly in silence. The presets are what four of them do:

- "engine": this engine's own way, the default. The order that a search returned is judged; every judged query counts.
- "trec_eval": trec_eval without flags, and pytrec_eval: scores as 32-bit floats, equal ones by descending document id;
  means over the queries that have results (`-c` is `missing="zero"`, `-l 2` is `relevance_level=2`, `-J` is
  `unjudged="condensed"`).
- "mteb": mteb 2.26, `mteb._evaluators.retrieval_metrics`: as pytrec_eval, but reciprocal ranks come of its own code,
  which sorts 64-bit scores.
- "beir": `EvaluateRetrieval.evaluate` of beir 2: as pytrec_eval, without documents that carry the query's id. (Its MRR
  is another function, which keeps the order of equal scores.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

from eval.errors import MeasureError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ir_measures import Measure

Ties = Literal["as returned", "trec_eval", "mteb"]
Missing = Literal["zero", "skip", "skip absent"]
WithoutRelevant = Literal["zero", "skip"]
Unjudged = Literal["not relevant", "condensed"]
Duplicates = Literal["error", "first"]
Gains = Literal["linear", "exponential"]

_TIES = {
    "as returned": "the order of the results is judged as it is (trec_eval would sort equal scores by document id)",
    "trec_eval": "results are sorted by score as a 32-bit float, equal scores by descending document id (trec_eval)",
    "mteb": "results are sorted by score as a 32-bit float (for reciprocal ranks: 64-bit), equal scores by descending "
    "document id (mteb)",
}
_MISSING = {
    "zero": "every judged query counts; one without results scores 0",
    "skip": "judged queries without results do not count",
    "skip absent": "judged queries that the run does not name do not count; one that it names without results scores 0",
}
_WITHOUT_RELEVANT = {"zero": "count, and score 0", "skip": "do not count"}
_UNJUDGED = {
    "not relevant": "are not relevant",
    "condensed": "are removed before measuring (condensed lists, Sakai 2007)",
}
_DUPLICATES = {
    "error": "a document twice in a ranking is an error",
    "first": "of a document that is twice in a ranking the best place counts; the others are removed and counted",
}


@dataclass(frozen=True)
class Policies:
    """What the measures' definitions leave open.

    Attributes:
        ignore_identical_ids: remove documents that carry the query's own id before measuring, as BEIR does for ArguAna
            and Quora, whose queries are documents of the corpus.
        missing: judged queries without results score 0, or do not count ("skip"), or do not count only where the run
            does not name them at all ("skip absent", as pytrec_eval).
        without_relevant: judged queries none of whose documents reaches `relevance_level` score 0, or do not count.
        ties: "as returned" judges the order of a ranking, whose scores must not rise; the others sort it anew.
        unjudged: documents without judgement count as not relevant, or are removed first.
        duplicates: a document twice in a ranking is an error, or its best place counts.
        relevance_level: lowest grade that binary measures take for relevant, where their name does not say rel=...;
            2 for the passages of TREC Deep Learning. Above 1 it is written into the measure's name: AP(rel=2)@100.
        gains: of nDCG, where its name does not say dcg= or gains=: the grade, or 2^grade - 1, which is written into the
            measure's name: nDCG(dcg='exp-log2')@10.

    Raises:
        MeasureError: a value that a policy does not have.
    """

    ignore_identical_ids: bool = False
    missing: Missing = "zero"
    without_relevant: WithoutRelevant = "zero"
    ties: Ties = "as returned"
    unjudged: Unjudged = "not relevant"
    duplicates: Duplicates = "error"
    relevance_level: int = 1
    gains: Gains = "linear"

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            value = getattr(self, name)
            if value not in allowed:
                raise MeasureError(f"the policy {name} is one of {', '.join(map(repr, allowed))}, not {value!r}")
        level = self.relevance_level
        if isinstance(level, bool) or not isinstance(level, int) or level < 1:
            raise MeasureError(f"relevance_level is a whole number of at least 1, not {level!r}")

    @classmethod
    def preset(cls, name: str) -> Policies:
        """Return the policies of an evaluator: "engine" (the default), "trec_eval", "mteb" or "beir".

        Raises:
            MeasureError: no such preset.
        """
        if name not in PRESETS:
            raise MeasureError(f"no preset of policies {name!r}; there are {', '.join(PRESETS)}")
        return PRESETS[name]

    @classmethod
    def parse(cls, text: str) -> Policies:
        """Return the policies of a preset, single ones changed: "mteb", or "trec_eval,missing=zero,relevance_level=2".

        Args:
            text: a preset ("engine" where none is named), and behind it policies by name, commas between them.

        Raises:
            MeasureError: no such preset, policy or value.
        """
        first, *rest = [part.strip() for part in text.split(",")]
        if "=" in first:
            first, rest = "engine", [first, *rest]
        changed: dict[str, Any] = {}
        for part in rest:
            name, equals, value = (piece.strip() for piece in part.partition("="))
            if not equals or name not in cls.__dataclass_fields__:
                known = ", ".join(cls.__dataclass_fields__)
                raise MeasureError(f"{part!r} is no policy of the form NAME=VALUE; there are {known}")
            if name in changed:
                raise MeasureError(f"the policy {name} is given twice")
            changed[name] = _value(name, value)
        return replace(cls.preset(first), **changed)

    def describe(self) -> dict[str, str]:
        """Return one sentence for each policy, to be shown beside every result."""
        gain = "the grade itself (trec_eval, BEIR)" if self.gains == "linear" else "2^grade - 1"
        level = self.relevance_level
        return {
            "ties": _TIES[self.ties],
            "missing queries": _MISSING[self.missing],
            "queries without relevant documents": _WITHOUT_RELEVANT[self.without_relevant],
            "unjudged documents": _UNJUDGED[self.unjudged],
            "duplicates": _DUPLICATES[self.duplicates],
            "self-matches": "documents with the query's id are removed before measuring"
            if self.ignore_identical_ids
            else "documents with the query's id are kept",
            "gains": f"nDCG's gain is {gain}; binary measures take grades of {level} and more, "
            "where the measure does not say rel=...",
        }

    def applied_to(self, measures: Iterable[Measure]) -> list[Measure]:
        """Return measures with the relevance level and the gains written into those that leave them open, in order."""
        return list(dict.fromkeys(self._applied(measure) for measure in measures))

    def _applied(self, measure: Measure) -> Measure:
        given, known = measure.params, measure.SUPPORTED_PARAMS
        if self.relevance_level > 1 and "rel" in known and "rel" not in given:
            measure = measure(rel=self.relevance_level)
        if self.gains == "exponential" and "dcg" in known and not given.keys() & {"dcg", "gains"}:
            measure = measure(dcg="exp-log2")
        return measure


def _value(name: str, text: str) -> str | int | bool:
    """Return a policy's value as it is written on a command line; what it does not have is refused later."""
    if name == "relevance_level":
        return int(text) if text.isascii() and text.isdigit() else text
    if name == "ignore_identical_ids":
        return {"true": True, "false": False}.get(text.lower(), text)
    return text


_ALLOWED: dict[str, tuple[str | bool, ...]] = {
    "ignore_identical_ids": (True, False),
    "missing": get_args(Missing),
    "without_relevant": get_args(WithoutRelevant),
    "ties": get_args(Ties),
    "unjudged": get_args(Unjudged),
    "duplicates": get_args(Duplicates),
    "gains": get_args(Gains),
}

PRESETS: dict[str, Policies] = {
    "engine": Policies(),
    "trec_eval": Policies(missing="skip", ties="trec_eval"),
    "mteb": Policies(missing="skip absent", ties="mteb"),
    "beir": Policies(missing="skip absent", ties="trec_eval", ignore_identical_ids=True),
}
"""What evaluators do, by their name."""
