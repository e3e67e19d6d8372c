"""`retrieval search` and `retrieval similar`: queries in, hits out, for people or as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrieval.cli.errors import PROBLEM, leave
from retrieval.cli.kernels import prepare_kernels
from retrieval.cli.options import (
    check_k,
    explain_option,
    index_argument,
    json_option,
    k_option,
    parsed_filter,
    ranking_options,
    search_options,
    where_option,
)
from retrieval.cli.rendering import Answer, write_answer
from retrieval.cli.terminal import note, write_json
from retrieval.errors import QueryError

if TYPE_CHECKING:
    from retrieval.collection.collection import Collection
    from retrieval.results import SearchResults

STDIN = "-"


@click.command(short_help="Find the documents that answer a query best.")
@index_argument
@click.argument("query", metavar="[QUERY...]", nargs=-1)
@k_option
@ranking_options
@click.option(
    "--syntax",
    type=click.Choice(["plain", "query"]),
    default="plain",
    help='query understands +required, -excluded and "quoted phrases".',
)
@explain_option
@json_option
def search(
    index: Path, query: tuple[str, ...], *, k: int, syntax: str, explain: bool, as_json: bool, **ranking: Any
) -> None:
    """Find the documents that answer a query best.

    Without a QUERY, or for -, each line of standard input is one, answered as it comes; with --json, each answer is a
    line of output. Put -- before a query that begins with a minus sign.
    """
    from retrieval.collection.collection import Collection

    check_k(k)
    with Collection.open(index) as collection:
        options = {"syntax": syntax, **search_options(collection, **ranking)}
        prepare_kernels()

        def answer(text: str) -> Answer:
            return _timed(collection, text, lambda: collection.search(text, k, **options))

        if query and query != (STDIN,):
            _write(answer(_text(" ".join(query))), explain=explain, as_json=as_json)
        else:
            _answer_lines(answer, explain=explain, as_json=as_json)


@click.command(short_help="Find the documents most like one in the index.")
@index_argument
@click.argument("document_id", metavar="ID")
@k_option
@where_option
@explain_option
@json_option
def similar(index: Path, document_id: str, *, k: int, where: str | None, explain: bool, as_json: bool) -> None:
    """Find the documents most like one that is in the index: by vectors, or by its words where there are none."""
    from retrieval.collection.collection import Collection

    check_k(k)
    with Collection.open(index) as collection:
        allowed = parsed_filter(where)
        if document_id not in collection:
            note(f"error: no document {document_id!r} in {index}")
            leave(PROBLEM)
        prepare_kernels()
        answer = _timed(collection, "", lambda: collection.similar(document_id, k, where=allowed))
        _write(answer, explain=explain, as_json=as_json, similar_to=document_id)


def _timed(collection: Collection, query: str, search: Callable[[], SearchResults]) -> Answer:
    started = time.perf_counter()
    results = search()
    seconds = time.perf_counter() - started
    if query and results.mode == "bm25" and not results:
        from retrieval.analysis import Analyser

        if not Analyser(collection.settings.analyser).terms(query):
            note(f"no word to search by in {query!r}: only stop words or punctuation")
    return Answer(query, results, collection, seconds)


def _write(answer: Answer, *, explain: bool, as_json: bool, similar_to: str | None = None) -> None:
    if as_json:
        asked = {"query": answer.query} if similar_to is None else {"similar_to": similar_to}
        write_json({**asked, **answer.as_dict(explain=explain)})
    else:
        write_answer(answer, explain=explain)


def _answer_lines(answer: Callable[[str], Answer], *, explain: bool, as_json: bool) -> None:
    """Answer each line of standard input; an error ends it, unless somebody is typing."""
    typing = sys.stdin.isatty()
    if typing:
        note("type a query and Enter; end with Ctrl-D")
    for number, line in _lines():
        try:
            answered = answer(_text(line))
        except QueryError as error:
            if not typing:
                raise QueryError(f"line {number} of standard input: {error}") from None
            note(f"error: {error}")
            continue
        if as_json:
            write_json({"query": line, **answered.as_dict(explain=explain)}, indent=None)
        else:
            write_answer(answered, explain=explain, show_query=not typing)
        sys.stdout.flush()


def _lines() -> Iterator[tuple[int, str]]:
    for number, line in enumerate(sys.stdin.buffer, start=1):
        text = line.decode("utf-8", "surrogateescape").strip()
        if text:
            yield number, text


def _text(query: str) -> str:
    """Refuse bytes that are no text, which Python carries as halves of surrogate pairs."""
    try:
        query.encode()
    except UnicodeEncodeError:
        raise QueryError(f"the query is not UTF-8: {query!r:.100}") from None
    return query
