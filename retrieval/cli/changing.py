"""Commands that change an index: `delete`, `compact`, `optimize`, `reencode`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from retrieval.cli.errors import PROBLEM, leave
from retrieval.cli.id_lists import read_ids
from retrieval.cli.kernels import prepare_kernels
from retrieval.cli.model_settings import encoder_of
from retrieval.cli.options import SEARCHER_KINDS, index_argument, json_option, parsed_filter, where_option
from retrieval.cli.terminal import duration, note, plural, shows_progress, size, visible, write, write_json
from retrieval.errors import CollectionError

if TYPE_CHECKING:
    from indexes.token_vectors import Storage

_SHOWN = 10
"""Missing ids that are named; the rest is counted."""


@click.command(short_help="Delete documents.")
@index_argument
@click.argument("ids", metavar="[ID...]", nargs=-1)
@click.option(
    "--ids-from",
    metavar="FILE",
    help='JSON lines with an id each, "like this" or {"id": "like this"}; - reads standard input.',
)
@where_option
@json_option
def delete(index: Path, ids: tuple[str, ...], *, ids_from: str | None, where: str | None, as_json: bool) -> None:
    """Delete documents by id, or all whose metadata pass a filter, in one commit.

    Ids that are not there are named, and the exit status is 1; the others are deleted all the same.
    """
    from retrieval.collection.collection import Collection

    wanted = list(ids) + ([] if ids_from is None else read_ids(ids_from))
    if bool(wanted or ids_from) == (where is not None):
        raise CollectionError("say what to delete: either ids (or --ids-from), or --where")
    passing = parsed_filter(where)
    missing: list[str] = []
    with Collection.open(index, progress=shows_progress()) as collection:
        prepare_kernels()
        collection.refresh()  # others may have written meanwhile
        if passing is not None:
            deleted = collection.delete(where=passing)
        else:
            distinct = list(dict.fromkeys(wanted))
            missing = [document_id for document_id in distinct if document_id not in collection]
            deleted = collection.delete(distinct)
        remaining = len(collection)
    if as_json:
        write_json({"index": str(index), "deleted": deleted, "missing": missing, "documents": remaining})
    else:
        write(f"deleted {plural(deleted, 'document')}, {remaining:,} remain in {visible(str(index))}")
    if missing:
        more = f" and {len(missing) - _SHOWN:,} more" if len(missing) > _SHOWN else ""
        note(f"not in the index: {', '.join(map(repr, missing[:_SHOWN]))}{more}")
        leave(PROBLEM)


@click.command(short_help="Merge segments and drop deleted documents.")
@index_argument
@json_option
def compact(index: Path, *, as_json: bool) -> None:
    """Merge all segments into one without the deleted documents; searches find the same."""
    from retrieval.collection.collection import Collection

    started = time.perf_counter()
    with Collection.open(index, progress=shows_progress()) as collection:
        prepare_kernels()
        before = collection.stats()
        collection.compact()
        after = collection.stats()
    seconds = time.perf_counter() - started
    if as_json:
        states = {name: _extent(stats) for name, stats in (("before", before), ("after", after))}
        write_json({"index": str(index), **states, "seconds": seconds})
        return
    then = f"{plural(len(before['segments']), 'segment')} ({size(before['bytes'])}, {before['deleted']:,} deleted)"
    now = f"{len(after['segments']):,} ({size(after['bytes'])})"
    write(f"{visible(str(index))}: {then} became {now} in {duration(seconds)}")


def _extent(stats: dict[str, Any]) -> dict[str, Any]:
    return {
        "segments": len(stats["segments"]),
        "documents": stats["documents"],
        "deleted": stats["deleted"],
        "bytes": stats["bytes"],
    }


@click.command(short_help="Build an approximate searcher for vectors.")
@index_argument
@click.argument("kind", type=click.Choice(SEARCHER_KINDS), default="hnsw")
@json_option
def optimize(index: Path, kind: str, *, as_json: bool) -> None:
    """Build an approximate searcher over the vectors, for large indexes; exact search stays possible (--exact).

    "exact" drops the searcher there is.
    """
    from retrieval.collection.collection import Collection

    started = time.perf_counter()
    with Collection.open(index, progress=shows_progress()) as collection:
        collection.optimize(kind)
        searcher = collection.stats()["searcher"]
    seconds = time.perf_counter() - started
    if as_json:
        write_json({"index": str(index), "searcher": searcher, "seconds": seconds})
    elif kind == "exact":
        write(f"{visible(str(index))} is searched exactly")
    else:
        write(
            f"{visible(str(index))}: {kind} over {plural(searcher['covered'], 'vector')}, {size(searcher['bytes'])}, "
            f"in {duration(seconds)}"
        )


@click.command(short_help="Build the vectors of another model.")
@index_argument
@click.argument("encoder", metavar="[MODEL]", required=False)
@click.option("--sparse", is_flag=True, help="MODEL is a sparse one: build the sparse vectors.")
@click.option("--largest-weight", type=float, metavar="X", help="Sparse weight stored as the largest (the model's).")
@click.option("--tokens", metavar="NAME", help="MODEL is a late-interaction reranker: build its stored states.")
@click.option("--token-storage", type=click.Choice(["float16", "int8"]), help="Numbers of stored states (float16).")
@click.option("--drop-tokens", metavar="NAME", help="Remove the stored states of this name instead.")
@json_option
def reencode(
    index: Path,
    encoder: str | None,
    *,
    sparse: bool,
    largest_weight: float | None,
    tokens: str | None,
    token_storage: Storage | None,
    drop_tokens: str | None,
    as_json: bool,
) -> None:
    """Build the vectors of another model from the stored texts, then swap them in at once.

    MODEL is the name or path of a sentence-transformers model, by default the embedded one, with any settings of how
    it runs behind it (embedded,precision=bf16); with --sparse or --tokens it has to be named, and has none. On an
    index without vectors of the kind this adds them. An approximate searcher has to be built anew with `optimize`.
    """
    from retrieval.collection.collection import EMBEDDED, Collection
    from retrieval.collection.reports import ChangeReport
    from retrieval.collection.token_slot import TokenStates

    _check_reencoding(encoder, sparse=sparse, tokens=tokens, token_storage=token_storage, drop_tokens=drop_tokens)
    if sparse and encoder is None:
        raise CollectionError("--sparse needs MODEL, the name or path of a sparse model")
    if largest_weight is not None and not sparse:
        raise CollectionError("--largest-weight is of sparse vectors; give --sparse as well")
    started = time.perf_counter()
    with Collection.open(index, progress=shows_progress()) as collection:
        if drop_tokens is not None:
            collection.drop_tokens(drop_tokens)
            report = ChangeReport()
        elif tokens is not None and encoder is not None:
            report = collection.reencode_tokens(tokens, TokenStates(encoder, token_storage or "float16"))
        elif sparse and encoder is not None:
            report = collection.reencode_sparse(encoder, largest_weight=largest_weight)
        else:
            report = collection.reencode(encoder_of(encoder, "MODEL") or EMBEDDED)
        stats = collection.stats()
    seconds = time.perf_counter() - started
    if tokens is not None or drop_tokens is not None:
        _write_state_report(index, stats, tokens, report.states_encoded, seconds, as_json=as_json)
        return
    if sparse:
        _write_sparse_report(index, stats, report.sparse_encoded, seconds, as_json=as_json)
        return
    if as_json:
        shown = {name: stats[name] for name in ("documents", "passages", "encoder")}
        write_json({"index": str(index), **shown, "encoded": report.encoded, "seconds": seconds})
        return
    write(
        f"{visible(str(index))}: {plural(stats['passages'], 'vector')} by {visible(str(stats['encoder']['source']))} "
        f"({stats['encoder']['dimension']} dimensions) in {duration(seconds)}"
    )


def _check_reencoding(
    encoder: str | None, *, sparse: bool, tokens: str | None, token_storage: str | None, drop_tokens: str | None
) -> None:
    """Refuse options that do not fit each other."""
    if tokens is not None and encoder is None:
        raise CollectionError("--tokens needs MODEL, the name or path of a late-interaction reranker")
    if token_storage is not None and tokens is None:
        raise CollectionError("--token-storage is of stored states; give --tokens as well")
    if sum((sparse, tokens is not None, drop_tokens is not None)) > 1:
        raise CollectionError("--sparse, --tokens and --drop-tokens exclude each other")
    if drop_tokens is not None and encoder is not None:
        raise CollectionError(f"--drop-tokens builds nothing; leave {encoder!r} out")


def _write_state_report(
    index: Path, stats: dict[str, Any], name: str | None, encoded: int, seconds: float, *, as_json: bool
) -> None:
    if as_json:
        shown = {"documents": stats["documents"], "tokens": stats["tokens"], "encoded": encoded}
        write_json({"index": str(index), **shown, "seconds": seconds})
    elif name is None:
        write(f"{visible(str(index))}: {size(stats['bytes'])} in {duration(seconds)}")
    else:
        found = stats["tokens"][name]
        write(
            f"{visible(str(index))}: states of {plural(stats['documents'], 'document')} for {visible(name)}, "
            f"{found['bytes_per_document']:,.0f} bytes a document, in {duration(seconds)}"
        )


def _write_sparse_report(index: Path, stats: dict[str, Any], encoded: int, seconds: float, *, as_json: bool) -> None:
    found = stats["sparse"]
    if as_json:
        shown = {"documents": stats["documents"], "sparse": found, "encoded": encoded}
        write_json({"index": str(index), **shown, "seconds": seconds})
        return
    write(
        f"{visible(str(index))}: {plural(found['passages'], 'sparse vector')} by {visible(str(found['source']))}, "
        f"{found['postings_per_document']:.1f} postings a document, in {duration(seconds)}"
    )
