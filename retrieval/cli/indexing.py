"""`retrieval index`: documents from files into an index, new or there already."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval.cli.errors import PROBLEM, leave
from retrieval.cli.index_report import index_report, write_index_report
from retrieval.cli.index_settings import WantedSettings
from retrieval.cli.kernels import prepare_kernels
from retrieval.cli.options import SEARCHER_KINDS, index_argument, json_option
from retrieval.cli.terminal import write_json
from retrieval.cli.updating import opened, update

if TYPE_CHECKING:
    from indexes.token_vectors import Storage


@click.command(short_help="Create or update an index from files.")
@index_argument
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--format", "format_name", metavar="NAME", help="Read the sources in this format, whatever their names.")
@click.option("--id", "id_column", metavar="COLUMN", default="auto", help="The id; 'row' makes ids of line numbers.")
@click.option("--text", "text_columns", metavar="COLUMN", multiple=True, help="The text; repeat it to join columns.")
@click.option("--title", "title_column", metavar="COLUMN", default="auto", help="The title; '' for no titles.")
@click.option(
    "--metadata", "metadata_columns", metavar="COLUMN", multiple=True, help="Metadata to keep (all); repeat it."
)
@click.option("--vectors", "vector_column", metavar="COLUMN", help="Ready-made vectors, instead of an encoder's.")
@click.option(
    "--encoder",
    metavar="MODEL",
    help="Name or path of a sentence-transformers model (embedded); behind it any settings of how it runs, as in "
    "embedded,precision=bf16 or FOLDER,runtime=openvino or NAME,device=cuda:0+cuda:1.",
)
@click.option("--no-dense", is_flag=True, help="No vectors: a lexical index.")
@click.option("--sparse", metavar="MODEL", help="Sparse vectors too: name or path of a sparse model.")
@click.option("--largest-weight", type=float, metavar="X", help="Sparse weight stored as the largest (the model's).")
@click.option(
    "--tokens",
    metavar="NAME=MODEL",
    multiple=True,
    help="Store states for a stage NAME: folder or name of a late-interaction reranker; repeat it.",
)
@click.option("--token-storage", type=click.Choice(["float16", "int8"]), help="Numbers of stored states (float16).")
@click.option(
    "--long",
    type=click.Choice(["chunk", "late", "truncate", "error"]),
    help="What to do with texts longer than the encoder reads (chunk); late: chunks encoded within their text.",
)
@click.option("--language", metavar="NAME", help="Of stemmer and stop words (english); 'none' for any other.")
@click.option("--title-boost", type=float, metavar="X", help="Weight of words in the title for BM25 (1).")
@click.option("--expansion", metavar="COLUMN", help="Texts to find a document by as well, such as generated queries.")
@click.option("--expansion-boost", type=float, metavar="X", help="Weight of words in these for BM25 (1).")
@click.option("--distinct-expansions", is_flag=True, default=None, help="Count equal ones of a document once.")
@click.option("--term-weights", metavar="COLUMN", help="Weights of a document's terms, instead of counting words.")
@click.option("--weight-scale", type=float, metavar="X", help="Multiplies these before they become integers (1).")
@click.option("--impacts", is_flag=True, default=None, help="Add these weights up instead of scoring them by BM25.")
@click.option("--sync", is_flag=True, help="Delete documents that are in none of the sources any more.")
@click.option("--allow-skipped", is_flag=True, help="With --sync: delete even though rows could not be read.")
@click.option("--strict", is_flag=True, help="Stop at the first row that cannot be used, and change nothing.")
@click.option("--optimize", type=click.Choice(SEARCHER_KINDS), help="Afterwards, build this searcher over the vectors.")
@json_option
def index(
    index: Path,
    sources: tuple[str, ...],
    *,
    format_name: str | None,
    id_column: str,
    text_columns: tuple[str, ...],
    title_column: str,
    metadata_columns: tuple[str, ...],
    vector_column: str | None,
    encoder: str | None,
    no_dense: bool,
    sparse: str | None,
    largest_weight: float | None,
    tokens: tuple[str, ...],
    token_storage: Storage | None,
    long: str | None,
    language: str | None,
    title_boost: float | None,
    expansion: str | None,
    expansion_boost: float | None,
    distinct_expansions: bool | None,
    term_weights: str | None,
    weight_scale: float | None,
    impacts: bool | None,
    sync: bool,
    allow_skipped: bool,
    strict: bool,
    optimize: str | None,
    as_json: bool,
) -> None:
    """Create an index from documents, or bring an existing one up to date.

    A SOURCE is a file (JSON lines, CSV, TSV, Parquet, Arrow, text, Markdown, HTML ...), a folder of texts, a BEIR or
    MS MARCO folder, or an id such as ir_datasets:vaswani. Columns are recognised by their names.

    Documents whose id is there already are replaced, unchanged ones cost nothing. Either everything is taken in or
    nothing. Rows that cannot be used are skipped and counted. What an index is (--encoder, --no-dense, --vectors,
    --sparse, --largest-weight, --tokens, --token-storage, --long, --language, --title-boost, --expansion,
    --term-weights and what belongs to them) is decided when it is created.
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
        vector=vector_column,
        strict=strict,
    )
    own_vectors = vector_column is not None
    fields = {
        "expansion": expansion,
        "expansion_boost": expansion_boost,
        "distinct_expansions": distinct_expansions,
        "term_weights": term_weights,
        "weight_scale": weight_scale,
        "impacts": impacts,
    }
    wanted = WantedSettings(
        encoder,
        no_dense,
        own_vectors,
        long,
        language,
        title_boost,
        sparse=sparse,
        largest_weight=largest_weight,
        fields=fields,
        tokens=tokens,
        token_storage=token_storage,
    )
    with opened(index, wanted) as (collection, created):
        prepare_kernels()
        changes = update(collection, reader, sync=sync, allow_skipped=allow_skipped, own_vectors=own_vectors)
        if optimize is not None:
            collection.optimize(optimize)
        seconds = time.perf_counter() - started
        report = index_report(collection, reader.report, changes, created=created, seconds=seconds)
    (write_json if as_json else write_index_report)(report)
    if reader.report.read == 0 and reader.report.n_skipped:
        leave(PROBLEM)
