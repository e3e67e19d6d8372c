"""The command `retrieval`: index, search, measure and look after collections.

This is the roof of the house: it may import anything, nothing imports it. Commands import what they need when they run,
so that `--help` is instant and a lexical search never loads a model's libraries.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.main import get_command

from retrieval.cli import changing, demo, doctor, evaluating, indexing, maintenance, searching
from retrieval.cli.errors import DONE, guarded, library_warnings
from retrieval.cli.terminal import write

__all__ = ["app", "main"]

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

app = typer.Typer(
    name="retrieval",
    # Plain help: the pretty one takes longer to load than to read.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings=_CONTEXT,
)
for _name, _command, _summary in (
    ("index", indexing.index, "Create or update an index from files."),
    ("search", searching.search, "Find the documents that answer a query best."),
    ("similar", searching.similar, "Find the documents most like one in the index."),
    ("evaluate", evaluating.evaluate, "Measure what an index finds on a test set."),
    ("delete", changing.delete, "Delete documents."),
    ("compact", changing.compact, "Merge segments and drop deleted documents."),
    ("optimize", changing.optimize, "Build an approximate searcher for vectors."),
    ("reencode", changing.reencode, "Build the vectors of another model."),
    ("export", maintenance.export, "Write all documents to a file."),
    ("verify", maintenance.verify, "Check every file of an index."),
    ("info", maintenance.info, "Show what an index holds."),
    ("doctor", doctor.doctor, "Check whether everything works here."),
    ("demo", demo.demo, "Index Python's own documentation, and search."),
):
    app.command(_name, short_help=_summary, context_settings=_CONTEXT)(_command)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
    debug: Annotated[  # noqa: ARG001  # taken out of the arguments by `main`; declared here for the help
        bool, typer.Option("--debug", help="Show tracebacks and what happens inside; works behind a command, too.")
    ] = False,
) -> None:
    """Index documents, search them by words and by meaning, and measure how well that works.

    An index is a folder: `retrieval index my.index corpus.jsonl`, then `retrieval search my.index "some words"`.
    """
    if version:
        from importlib.metadata import version as installed_version

        write(f"retrieval-engine {installed_version('retrieval-engine')} (Python {sys.version.split()[0]})")
        raise typer.Exit(DONE)
    if context.invoked_subcommand is None:
        write(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit status (see `retrieval.cli.errors`).

    Args:
        arguments: what follows the program's name; by default those of this process.
    """
    given, debug = _without_debug(list(sys.argv[1:] if arguments is None else arguments))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # What the terminal's encoding cannot write is shown as an escape.
            stream.reconfigure(errors="backslashreplace")
    with library_warnings(debug=debug):
        status = guarded(lambda: _invoke(given), debug=debug)
    sys.exit(status)


def _invoke(arguments: list[str]) -> None:
    command = get_command(app)
    with command.make_context("retrieval", arguments) as context:
        command.invoke(context)


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """Take `--debug` out of the options, wherever it stands before `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != "--debug"]
    return options + arguments[end:], len(options) < end
