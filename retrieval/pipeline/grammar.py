"""From the text of a pipeline to its stages, with errors that point at the place.

pipeline  = first ("," stage)*
first     = retriever ("+" retriever)*
retriever = name [ "(" method ("," parameter "=" number)* ")" ] ":" number
stage     = name ":" number
"""

from __future__ import annotations

import re

from retrieval.errors import QueryError
from retrieval.feedback.settings import parse_feedback
from retrieval.pipeline.stages import FIRST_STAGES, LARGEST, Admission, Pipeline, Retriever

StagesSpec = str | Pipeline
"""A pipeline, or its text."""

EXAMPLE = "bm25:1000+dense:1000,mono:50"
_NUMBER = re.compile(r"[0-9]+")
_FED_BACK = re.compile(r"([^()]*)\(([^()]*)\)")
_SHOWN = 80


def parse_stages(text: StagesSpec) -> Pipeline:
    """Read a pipeline such as "bm25:1000+dense:1000,mono:50,duo:10"; spaces do not count.

    Args:
        text: the first stage retrieves ("bm25", "dense", "sparse" or "hybrid", several joined by +); those behind the
            commas rerank, by names of your choice. The number of a retriever is the depth of its list, that of a
            reranker how many documents it admits; 0 switches a stage off. In parentheses behind a retriever stands the
            feedback that changes its query, "bm25(rm3, terms=20):1000" (`retrieval.feedback`). A `Pipeline` is
            returned as it is.

    Raises:
        QueryError: it cannot be read; the message names the stage.
    """
    if isinstance(text, Pipeline):
        return text
    if not isinstance(text, str):
        raise QueryError(f"stages are text such as {EXAMPLE!r}, not {text!r:.80}")
    if not text.strip():
        raise QueryError(f"the stages are empty; write for example {EXAMPLE!r}")
    first, *others = _outside_parentheses(text, ",")
    retrievers = [_retriever(part, text) for part in _outside_parentheses(first, "+")]
    rerankers = []
    for number, part in enumerate(others, start=2):
        if "+" in part:
            apart = part.replace("+", ",").strip()
            raise QueryError(
                f"stage {number}, {part.strip()!r:.80}, joins rerankers by +; they run in turn: {apart!r:.80}"
            )
        rerankers.append(Admission(*_stage(part, number, text)))
    _check_beginning(retrievers, text)
    return Pipeline(tuple(retrievers), tuple(rerankers))


def _outside_parentheses(text: str, separator: str) -> list[str]:
    """Split a text at a separator, but not within parentheses."""
    parts, begin, depth = [], 0, 0
    for place, character in enumerate(text):
        if character == separator and depth == 0:
            parts.append(text[begin:place])
            begin = place + 1
        depth = max(0, depth + (character == "(") - (character == ")"))
    return [*parts, text[begin:]]


def _retriever(part: str, text: str) -> Retriever:
    """Read "name:number" or "name(feedback):number"."""
    name, depth = _stage(part, 1, text)
    if "(" not in name and ")" not in name:
        return Retriever(name, depth)
    match = _FED_BACK.fullmatch(name)
    if match is None:
        raise QueryError(
            f"stage 1 of {text.strip()[:_SHOWN]!r}: {name!r:.80} has parentheses that do not fit; write "
            "NAME(METHOD):NUMBER, as in 'bm25(rm3):1000'"
        )
    retriever, feedback = (group.strip() for group in match.groups())
    return Retriever(retriever, depth, parse_feedback(retriever, feedback))


def _stage(part: str, number: int, text: str) -> tuple[str, int]:
    """Read "name:number"."""
    part = part.strip()
    place = f"stage {number} of {text.strip()[:_SHOWN]!r}"
    if not part:
        raise QueryError(f"{place} is empty; a stage is NAME:NUMBER, as in {EXAMPLE!r}")
    name, colon, count = (piece.strip() for piece in part.partition(":"))
    if not colon and _NUMBER.fullmatch(part):
        raise QueryError(f"{place} is only a number, {part!r:.80}; write numbers without commas, as in {EXAMPLE!r}")
    if not count:
        raise QueryError(
            f"{place}, {part!r:.80}, has no number; write how many documents it takes: {f'{name}:100'!r:.90}"
        )
    if not name:
        raise QueryError(f"{place}, {part!r:.80}, has no name; write NAME:NUMBER, as in {EXAMPLE!r}")
    if not _NUMBER.fullmatch(count):
        raise QueryError(f"{place}: {count!r:.80} is not a whole number of documents, 0 or more, in digits")
    digits = count.lstrip("0") or "0"
    if len(digits) > len(str(LARGEST)):  # Python refuses to read thousands of digits, zeros among them
        raise QueryError(f"{place}: {digits[:20]}… is more than the {LARGEST:,} documents that a stage can take")
    return name, int(digits)


def _check_beginning(retrievers: list[Retriever], text: str) -> None:
    """Say so where a reranker stands first, which is the usual mistake."""
    if len(retrievers) == 1 and retrievers[0].name not in FIRST_STAGES:
        name = retrievers[0].name
        raise QueryError(
            f"{text.strip()[:_SHOWN]!r} begins with {name!r:.80}, which is no retriever; put one of "
            f"{', '.join(map(repr, sorted(FIRST_STAGES)))} in front: {'bm25:1000,' + text.strip()[:_SHOWN]!r}"
        )
