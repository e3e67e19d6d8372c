"""`retrieval demo`: a collection that every machine has, indexed and searched."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from retrieval.cli.index_report import index_report, write_index_report
from retrieval.cli.index_settings import WantedSettings
from retrieval.cli.kernels import prepare_kernels
from retrieval.cli.rendering import Answer, write_answer
from retrieval.cli.terminal import note, visible, write
from retrieval.cli.updating import opened, update

if TYPE_CHECKING:
    from retrieval.collection.collection import Collection

QUERIES = (
    "how do I read a csv file into dictionaries",
    "run a shell command and capture its output",
    "cache the results of a function",
    "create a temporary file that is deleted afterwards",
    "which of these strings is most similar to a misspelled word",
)
_HITS = 3


@click.command(short_help="Index Python's own documentation, and search it.")
@click.option(
    "--index",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("python-docs.index"),
    show_default=True,
    help="Where to keep the index.",
)
@click.option("--no-dense", is_flag=True, help="No vectors: seconds instead of a minute or two.")
def demo(index: Path, *, no_dense: bool) -> None:
    """Index the documentation of this Python's standard library, and search it.

    The index is kept; another run finds it up to date and only searches.
    """
    started = time.perf_counter()
    # Titles hold the names in plain words, texts are of any length: what the names say counts double.
    with opened(index, WantedSettings(no_dense=no_dense, title_boost=2.0)) as (collection, created):
        prepare_kernels()
        _bring_up_to_date(collection, created=created, started=started)
        for query in QUERIES:
            write()
            began = time.perf_counter()
            results = collection.search(query, _HITS)
            write_answer(Answer(query, results, collection, time.perf_counter() - began), show_query=True)
    shown = visible(str(index))
    write()
    write("Go on with:")
    write(f'  retrieval search {shown} "parse command line options"')
    write(f"  retrieval search {shown} --where 'kind = class' --explain thread pool")
    write("  retrieval index my.index FOLDER_OR_FILE    and then    retrieval search my.index WORDS")


def _bring_up_to_date(collection: Collection, *, created: bool, started: float) -> None:
    """Take the documentation in; an index that is there already takes only what another version of Python changed."""
    from retrieval.documents import read_documents
    from retrieval.standard_library import standard_library_documents

    if created:
        note("reading the documentation of the standard library")
    reader = read_documents(standard_library_documents())
    changes = update(collection, reader, sync=True, allow_skipped=True, own_vectors=False)
    seconds = time.perf_counter() - started
    write_index_report(index_report(collection, reader.report, changes, created=created, seconds=seconds))
