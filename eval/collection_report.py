"""What the evaluation of one collection found, together with everything that is needed to believe it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from eval.latency import Latency
from eval.measures import Evaluation, Policies, Run
from eval.query_runs import StageCost
from retrieval.pipeline.stages import Pipeline

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True)
class Report:
    """One test set, one way to search.

    Attributes:
        testset: name of the test set.
        split: which judgements.
        language: of a multilingual set.
        evaluation: the values, over all and by query.
        policies: what the measures leave open, as it was decided.
        k: documents that were asked for with each query.
        modes: what ran, as the search names it.
        seconds: wall time of all queries in batches.
        n_queries: judged queries that have a text.
        queries_without_text: judged queries that the test set has no text for; they count, as missing.
        blank_queries: queries whose text is blank; they count, as missing.
        unknown_documents: relevant documents that the collection does not have; None when that is not known.
        latency: of single searches; None when it was not measured.
        latency_k: documents that a timed search asked for.
        stages: what each stage of the searches took, in their order; empty for a search that does not say.
        options: what was passed on to the search.
        settings: facts about the collection: counts, analyser, encoder and so on.
        versions: of Python and of the packages that have a say.
        run: the rankings, for a run file.
    """

    testset: str
    split: str
    language: str | None
    evaluation: Evaluation
    policies: Policies
    k: int
    modes: tuple[str, ...]
    seconds: float
    n_queries: int
    queries_without_text: int = 0
    blank_queries: int = 0
    unknown_documents: int | None = None
    latency: Latency | None = None
    latency_k: int = 10
    stages: Sequence[StageCost] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    run: Run = field(default_factory=dict, repr=False)

    @property
    def measures(self) -> dict[str, float]:
        """Value over all judged queries, by measure."""
        return self.evaluation.measures

    @property
    def mode(self) -> str:
        """What ran, in one word: "hybrid", "bm25", "dense", a pipeline's text; empty for a search that does not say."""
        return "+".join(self.modes)

    def as_dict(self, per_query: bool = False) -> dict[str, Any]:
        """Return everything but the run, for JSON.

        Args:
            per_query: also the values of every query.
        """
        content: dict[str, Any] = {
            "testset": self.testset,
            "split": self.split,
            "language": self.language,
            "mode": self.mode,
            "k": self.k,
            "measures": self.measures,
            "queries": self._counts(),
            "unknown_documents": self.unknown_documents,
            "other_ties": self.evaluation.other_ties,
            "policies": self.policies.describe(),
            "seconds": self.seconds,
            "latency_ms": asdict(self.latency) | {"k": self.latency_k} if self.latency else None,
            "stages": [asdict(stage) for stage in self.stages],
            "options": {name: _plain(value) for name, value in self.options.items()},
            "settings": _plain(self.settings),
            "versions": dict(self.versions),
        }
        if per_query:
            content["per_query"] = self.evaluation.per_query
        return content

    def to_json(self, per_query: bool = False) -> str:
        """Return `as_dict` as JSON text."""
        return msgspec.json.format(msgspec.json.encode(self.as_dict(per_query)), indent=2).decode()

    def table(self) -> Group:
        """Return the report for people, to be printed with a `rich` console."""
        from rich import box
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        name = f"{self.testset} ({self.split}{f', {self.language}' if self.language else ''})"
        title = Text(f"{name}: {self.mode or 'search'}", style="italic")  # a table's own would be cut to its width
        values = Table(box=box.SIMPLE_HEAD)
        values.add_column("measure")
        values.add_column("value", justify="right")
        for measure, value in self.measures.items():
            values.add_row(measure, f"{value:.4f}")
        facts = Table.grid(padding=(0, 2))
        facts.add_column(style="dim", no_wrap=True)
        facts.add_column()
        for fact, text in self._facts():
            facts.add_row(fact, text)
        return Group(title, values, facts)

    def _counts(self) -> dict[str, int]:
        counts = {
            "judged": len(self.evaluation.per_query) + self.evaluation.skipped,
            "missing": len(self.evaluation.missing),
            "without_text": self.queries_without_text,
            "blank": self.blank_queries,
            "without_relevant": self.evaluation.without_relevant,
        }
        return counts | {"skipped": self.evaluation.skipped} if self.evaluation.skipped else counts

    def _facts(self) -> list[tuple[str, str]]:
        counts = self._counts()
        queries = f"{counts['judged']:,} judged, {counts['missing']:,} without results"
        for name, words in (
            ("without_text", "with no text in the test set"),
            ("blank", "blank"),
            ("without_relevant", "with no relevant document"),
            ("skipped", "that do not count"),
        ):
            queries += f", {counts[name]:,} {words}" if counts.get(name) else ""
        facts = [("queries", queries), ("depth", f"{self.k:,} documents a query")]
        if self.unknown_documents:
            facts.append(("not indexed", f"{self.unknown_documents:,} relevant documents: is it the right collection?"))
        if self.evaluation.self_matches:
            facts.append(("self-matches", f"{self.evaluation.self_matches:,} removed"))
        for what, count in (
            ("duplicates", self.evaluation.duplicates),
            ("unjudged", self.evaluation.unjudged_documents),
        ):
            if count:
                facts.append((what, f"{count:,} documents removed before measuring"))
        if self.evaluation.other_ties:
            values = ", ".join(f"{measure} {value:.4f}" for measure, value in self.evaluation.other_ties.items())
            other = "trec_eval's order" if self.policies.ties == "as returned" else "the order as returned"
            facts.append(("equal scores", f"{self.evaluation.tied:,} queries hang on them; {other} gives {values}"))
        if self.latency:
            facts.append(
                (
                    "latency",
                    f"p50 {self.latency.p50:.1f} ms, p95 {self.latency.p95:.1f} ms ({self.latency.n:,} single searches "
                    f"for {self.latency_k} documents, warm); all queries in batches {self.seconds:.1f} s",
                )
            )
        if "stages" in self.options:
            facts += [(f"stage {stage.name}", str(stage)) for stage in self.stages]
        return facts + list(self.policies.describe().items())


def _plain(value: Any) -> Any:
    """Return a value as JSON types: pipelines as their text, models by their identity, functions by their names."""
    if isinstance(value, Pipeline):
        return str(value)
    if callable(getattr(value, "identity", None)):
        return _plain(value.identity())
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    return msgspec.to_builtins(value, enc_hook=lambda thing: getattr(thing, "__qualname__", str(thing)))
