"""`retrieval search` and `retrieval similar`: queries in, hits out, for people or as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from retrieval.cli.kernels import announce_compilation
from retrieval.cli.options import K1, B, DenseWeight, Exact, FusionMethod, Index, Json, K, Mode, Where, ranking
from retrieval.cli.rendering import Answer, write_answer
from retrieval.cli.terminal import note, write_json
from retrieval.errors import QueryError

if TYPE_CHECKING:
    from retrieval.collection.collection import Collection
    from retrieval.results import SearchResults

Explain = Annotated[bool, typer.Option("--explain", help="Say why each document was found: terms, similarity, ranks.")]
STDIN = "-"


def search(
    index: Index,
    query: Annotated[
        list[str] | None,
        typer.Argument(metavar="QUERY", help="Words; without any, or for -, each line of standard input is a query."),
    ] = None,
    *,
    k: K = 10,
    mode: Mode = None,
    where: Where = None,
    syntax: Annotated[
        Literal["plain", "query"],
        typer.Option("--syntax", help='query understands +required, -excluded and "quoted phrases".'),
    ] = "plain",
    explain: Explain = False,
    exact: Exact = False,
    k1: K1 = None,
    b: B = None,
    fusion: FusionMethod = None,
    dense_weight: DenseWeight = None,
    json: Json = False,
) -> None:
    """Find the documents that answer a query best.

    Queries from standard input are answered one by one as they come; with --json, each is a line of output. Put --
    before a query that begins with a minus sign.
    """
    from retrieval.collection.collection import Collection

    if k < 1:
        raise QueryError(f"k must be at least 1, not {k}")
    announce_compilation()
    with Collection.open(index) as collection:
        options: dict[str, Any] = {
            "mode": mode,
            "where": _filter(where),
            "syntax": syntax,
            "exact": exact,
            **ranking(collection, k1, b, fusion, dense_weight),
        }

        def answer(text: str) -> Answer:
            return _timed(collection, text, lambda: collection.search(text, k, **options))

        if query and query != [STDIN]:
            _write(answer(_text(" ".join(query))), explain=explain, json=json)
        else:
            _answer_lines(answer, explain=explain, json=json)


def similar(
    index: Index,
    document_id: Annotated[str, typer.Argument(metavar="ID", help="The id of a document.", show_default=False)],
    *,
    k: K = 10,
    where: Where = None,
    explain: Explain = False,
    json: Json = False,
) -> None:
    """Find the documents most like one that is in the index: by vectors, or by its words where there are none."""
    from retrieval.collection.collection import Collection

    if k < 1:
        raise QueryError(f"k must be at least 1, not {k}")
    announce_compilation()
    with Collection.open(index) as collection:
        allowed = _filter(where)
        answer = _timed(collection, "", lambda: collection.similar(document_id, k, where=allowed))
        _write(answer, explain=explain, json=json, similar_to=document_id)


def _filter(where: str | None) -> Any:
    if where is None:
        return None
    from retrieval.filters import parse_filter

    return parse_filter(where)


def _timed(collection: Collection, query: str, search: Callable[[], SearchResults]) -> Answer:
    started = time.perf_counter()
    results = search()
    return Answer(query, results, collection, time.perf_counter() - started)


def _write(answer: Answer, *, explain: bool, json: bool, similar_to: str | None = None) -> None:
    if json:
        asked = {"query": answer.query} if similar_to is None else {"similar_to": similar_to}
        write_json({**asked, **answer.as_dict(explain=explain)})
    else:
        write_answer(answer, explain=explain)


def _answer_lines(answer: Callable[[str], Answer], *, explain: bool, json: bool) -> None:
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
        if json:
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
