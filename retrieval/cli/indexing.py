"""`retrieval index`: documents from files into an index, new or there already."""

from __future__ import annotations

import time
from typing import Annotated, Literal

import typer

from retrieval.cli.errors import PROBLEM
from retrieval.cli.index_report import index_report, write_index_report
from retrieval.cli.index_settings import WantedSettings
from retrieval.cli.kernels import announce_compilation
from retrieval.cli.options import Index, Json, SearcherKind
from retrieval.cli.terminal import write_json
from retrieval.cli.updating import opened, update


def index(
    index: Index,
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Files or folders: JSON lines, CSV, TSV, Parquet, Arrow, BEIR, MS MARCO, a folder of texts; "
            "or an id such as ir_datasets:vaswani.",
            show_default=False,
        ),
    ],
    *,
    format_name: Annotated[
        str | None,
        typer.Option("--format", metavar="NAME", help="Read the sources as this format.", show_default=False),
    ] = None,
    id_column: Annotated[
        str, typer.Option("--id", metavar="COLUMN", help="Column of the id; 'row' makes ids from line numbers.")
    ] = "auto",
    text_columns: Annotated[
        list[str] | None,
        typer.Option(
            "--text", metavar="COLUMN", help="Column of the text; repeat it to join several.", show_default="auto"
        ),
    ] = None,
    title_column: Annotated[
        str, typer.Option("--title", metavar="COLUMN", help="Column of the title; '' for no titles.")
    ] = "auto",
    metadata_columns: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="COLUMN", help="Column to keep as metadata; repeat it.", show_default="all"),
    ] = None,
    vectors: Annotated[
        str | None,
        typer.Option("--vectors", metavar="COLUMN", help="Column of ready-made vectors.", show_default=False),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder", metavar="MODEL", help="Name or path of a sentence-transformers model.", show_default="embedded"
        ),
    ] = None,
    no_dense: Annotated[bool, typer.Option("--no-dense", help="No vectors: a lexical index.")] = False,
    long: Annotated[
        Literal["chunk", "truncate", "error"] | None,
        typer.Option("--long", help="What to do with texts longer than the encoder reads.", show_default="chunk"),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(
            "--language", metavar="NAME", help="Language of stemmer and stop words, or 'none'.", show_default="english"
        ),
    ] = None,
    title_boost: Annotated[
        float | None,
        typer.Option("--title-boost", metavar="X", help="Weight of words in the title for BM25.", show_default="1"),
    ] = None,
    sync: Annotated[
        bool, typer.Option("--sync", help="Delete documents that are in none of the sources any more.")
    ] = False,
    allow_skipped: Annotated[
        bool, typer.Option("--allow-skipped", help="With --sync: delete even though rows could not be read.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first row that cannot be used, and change nothing.")
    ] = False,
    optimize: Annotated[
        SearcherKind | None,
        typer.Option("--optimize", help="Build this searcher over the vectors afterwards.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Create an index from documents, or bring an existing one up to date.

    Documents whose id is there already are replaced, unchanged ones cost nothing. Either everything is taken in or
    nothing. Rows that cannot be used are skipped and counted. What an index is (--encoder, --no-dense, --long,
    --language, --title-boost) is decided when it is created.
    """
    from retrieval.documents import read_documents

    started = time.perf_counter()
    reader = read_documents(
        sources,
        format=format_name,
        id=id_column,
        text=text_columns or "auto",
        title=title_column or None,
        metadata=metadata_columns or "all",
        vector=vectors,
        strict=strict,
    )
    wanted = WantedSettings(encoder, no_dense, vectors is not None, long, language, title_boost)
    announce_compilation()
    with opened(index, wanted) as (collection, created):
        changes = update(collection, reader, sync=sync, allow_skipped=allow_skipped, own_vectors=vectors is not None)
        if optimize is not None:
            collection.optimize(optimize)
        seconds = time.perf_counter() - started
        report = index_report(collection, reader.report, changes, created=created, seconds=seconds)
    (write_json if json else write_index_report)(report)
    if reader.report.read == 0 and reader.report.n_skipped:
        raise typer.Exit(PROBLEM)
