"""Search results as people read them: rank, score, id, title, and the part of the text that answers the query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from retrieval.cli.terminal import console, duration, plural, readable, visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from retrieval.analysis import Analyser
    from retrieval.collection.collection import Collection
    from retrieval.results import Explanation, Hit, SearchResults

_SNIPPET_WIDTH = 240
_LEAST_WIDTH = 30
_HIGHLIGHT = "bold yellow"
_INDENT = 14


@dataclass(frozen=True)
class Answer:
    """What a search found.

    Attributes:
        query: its text; empty for a search by document.
        results: the hits.
        collection: where they were found.
        seconds: how long it took.
    """

    query: str
    results: SearchResults
    collection: Collection
    seconds: float

    def as_dict(self, *, explain: bool) -> dict[str, Any]:
        """Return everything but the query for JSON."""
        return {
            "mode": self.results.mode,
            "seconds": self.seconds,
            "documents": len(self.collection),
            "stages": [stage.as_dict() for stage in self.results.stages],
            "hits": [_record(rank, hit, explain=explain) for rank, hit in enumerate(self.results, start=1)],
        }


def _record(rank: int, hit: Hit, *, explain: bool) -> dict[str, Any]:
    passage = hit.passage
    record = {
        "rank": rank,
        "id": hit.id,
        "score": hit.score,
        "title": hit.title,
        "text": hit.text,
        "metadata": dict(hit.metadata),
        "passage": None if passage is None else asdict(passage),
    }
    return record | ({"explanation": hit.explain().as_dict()} if explain else {})


def write_answer(answer: Answer, *, explain: bool = False, show_query: bool = False) -> None:
    """Write hits for people: a line with rank, score, id and title, then a snippet with the query's words marked.

    Args:
        answer: what was found.
        explain: also say why each document was found.
        show_query: put the query in front, where several are answered one after another.
    """
    from rich.text import Text

    from retrieval.analysis import Analyser
    from retrieval.snippets import ELLIPSIS

    analyser = Analyser(answer.collection.settings.analyser)
    query_terms = dict.fromkeys(analyser.terms(answer.query), 1.0)
    screen = console()
    if show_query:
        screen.print(Text(f"> {readable(answer.query)}", style="bold"), soft_wrap=True)
    for rank, hit in enumerate(answer.results, start=1):
        explanation = hit.explain()
        weights = {term.term: term.score for term in explanation.terms} or query_terms
        head = Text.assemble(f"{rank:>3}  {hit.score:>7.4f}  ", (visible(hit.id), "bold cyan"))
        title = hit.title.removeprefix(hit.id)  # one that begins with the id goes on where the id ends
        if title:
            head.append("  " if title == hit.title else "")
            room = max(_LEAST_WIDTH, screen.width - head.cell_len)
            shown = title if len(title) <= room else f"{title[: room - 1]}{ELLIPSIS}"
            head.append_text(_marked(shown, analyser, weights, room))
        screen.print(head, soft_wrap=True)
        _write_indented(screen, _marked(_telling_part(hit, explanation), analyser, weights, _SNIPPET_WIDTH))
        if explain:
            for line in str(explanation).splitlines():
                _write_indented(screen, Text(readable(line), style="dim"))
    screen.print(Text(_closing_line(answer), style="dim"), soft_wrap=True)
    if explain:
        for stage in answer.results.stages:
            screen.print(Text(f"  {stage}", style="dim"), soft_wrap=True)


def _marked(text: str, analyser: Analyser, weights: Mapping[str, float], width: int) -> Text:
    from rich.text import Text

    from retrieval.snippets import snippet

    piece = snippet(text, analyser, weights, width)
    marked = Text(readable(piece.text))  # of the same length, so that the places stay right
    for start, end in piece.highlights:
        marked.stylize(_HIGHLIGHT, start, end)
    return marked


def _telling_part(hit: Hit, explanation: Explanation) -> str:
    """Return the document's text; of one that was found by its meaning alone, the passage that was nearest."""
    passage = explanation.passage
    if explanation.terms or passage is None:
        return hit.text
    title_end = len(hit.document.full_text) - len(hit.text)
    return hit.document.full_text[max(passage.start, title_end) : passage.end] or hit.text


def _write_indented(screen: Console, text: Text) -> None:
    from rich.text import Text as Line

    for line in text.wrap(screen, max(_LEAST_WIDTH, screen.width - _INDENT)):
        line.rstrip()
        screen.print(Line(" " * _INDENT).append_text(line), soft_wrap=True)


def _closing_line(answer: Answer) -> str:
    mode = answer.results.mode
    why = "" if mode != "bm25" or answer.collection.snapshot.has_vectors else " (the index has no vectors)"
    what = f"stages {mode}" if ":" in mode else f"{mode} search{why}"
    calls = sum(stage.calls for stage in answer.results.stages)
    cost = f"{plural(calls, 'model call')}, " if calls else ""
    found = plural(len(answer.results), "hit") if len(answer.results) else "nothing found"
    return f"{found} in {plural(len(answer.collection), 'document')}, {what}, {cost}{duration(answer.seconds)}"
