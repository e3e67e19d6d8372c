"""The command `retrieval`: index, search, measure and look after collections.

This is the roof of the house: it may import anything, nothing imports it. Commands import what they need when they run,
so that `--help` is instant and a lexical search never loads a model's libraries.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence

import click

from retrieval.cli import (
    changing,
    comparing,
    demo,
    doctor,
    evaluating,
    indexing,
    maintenance,
    measuring,
    probing,
    reporting,
    searching,
    teaching,
    training,
    tuning,
)
from retrieval.cli.errors import guarded, library_warnings
from retrieval.cli.terminal import write

__all__ = ["application", "main"]

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class _InOrder(click.Group):
    """Lists its commands in the order in which people meet them, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(cls=_InOrder, invoke_without_command=True, context_settings=_CONTEXT)
@click.option("--version", is_flag=True, help="Show the version and leave.")
@click.option("--debug", is_flag=True, help="Show tracebacks and what happens inside; works behind a command, too.")
@click.pass_context
def application(context: click.Context, *, version: bool, debug: bool) -> None:  # noqa: ARG001  # see `main`
    """Index documents, search them by words and by meaning, and measure how well that works.

    An index is a folder: `retrieval index my.index corpus.jsonl`, then `retrieval search my.index some words`.

    Exit status: 0 done; 1 a problem was found, such as damage or an unknown id; 2 it cannot be done as asked.
    """
    if version:
        from importlib.metadata import version as installed_version

        write(f"retrieval-engine {installed_version('retrieval-engine')} (Python {sys.version.split()[0]})")
    elif context.invoked_subcommand is None:
        write(context.get_help())


for _command in (
    indexing.index,
    searching.search,
    searching.similar,
    evaluating.evaluate,
    measuring.measure,
    comparing.compare,
    reporting.report,
    probing.probe,
    tuning.tune,
    training.train,
    teaching.teach,
    changing.delete,
    changing.compact,
    changing.optimize,
    changing.reencode,
    maintenance.export,
    maintenance.verify,
    maintenance.info,
    doctor.doctor,
    demo.demo,
):
    _command.context_settings = _CONTEXT
    application.add_command(_command)


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
    with library_warnings(debug=debug), warnings.catch_warnings():
        if not debug and not sys.warnoptions:
            warnings.simplefilter("ignore")  # they are for authors of programs
        status = guarded(lambda: _invoke(given), debug=debug)
    sys.exit(status)


def _invoke(arguments: list[str]) -> None:
    with application.make_context("retrieval", arguments) as context:
        application.invoke(context)


def _without_debug(arguments: list[str]) -> tuple[list[str], bool]:
    """Take `--debug` out of the options, wherever it stands before `--`."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument != "--debug"]
    return options + arguments[end:], len(options) < end
